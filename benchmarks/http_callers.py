# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp>=3.11"]
# ///
"""Callers over HTTP, in a process of their own: `http_callers.py URL SHAPE PICTURE...`.

Orders are those of `load.py`, or `{"check": true}` for one text a picture. SHAPE is how a peer wants a picture: `image`
for `{"image": base64}` answered by `{"text"}`, `images` for `{"images": [base64]}` answered by `[text]`, `raw` for
the bytes alone, answered by the text as JSON or plain.
"""

# pyright: basic, reportMissingImports=false

import asyncio
import base64
import json
import sys
from pathlib import Path

import aiohttp

from benchmarks.load import make_load

JSON = {"Content-Type": "application/json"}


def body_of(shape: str, picture: bytes) -> bytes:
    """The request's body."""
    if shape == "raw":
        return picture
    text = base64.b64encode(picture).decode()
    return json.dumps({"image": text} if shape == "image" else {"images": [text]}).encode()


def text_of(shape: str, answer: bytes) -> str:
    """The text in an answer."""
    if shape == "raw":
        return json.loads(answer) if answer[:1] == b'"' else answer.decode()
    return json.loads(answer)["text"] if shape == "image" else json.loads(answer)[0]


async def serve(url: str, shape: str, bodies: list[bytes]) -> None:
    """Orders until standard input ends."""
    headers = {} if shape == "raw" else JSON
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120)
    ) as session:

        async def ask(number: int) -> str:
            async with session.post(url, data=bodies[number % len(bodies)], headers=headers) as response:
                answer = await response.read()
                if response.status != 200:
                    raise ValueError(f"{response.status} {answer[:200]!r}")
                return text_of(shape, answer)

        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            if order.get("check"):
                answer = {"texts": [await ask(number) for number in range(len(bodies))]}
            else:
                answer = await make_load(ask, order)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _, url_, shape_, *files_ = sys.argv
    asyncio.run(serve(url_, shape_, [body_of(shape_, Path(file).read_bytes()) for file in files_]))
