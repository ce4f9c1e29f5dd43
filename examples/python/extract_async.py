"""Hand in documents and print their records as they are ready: python extract_async.py FILE_OR_URL..."""

import asyncio
import sys

from billow.client import Billow
from billow.schemas import codec


async def main(documents: list[str]) -> int:
    failed = 0
    async with Billow() as billow:
        async for result in billow.batch(documents, concurrency=8):
            if result.record is None:
                print(f"{result.document}: {result.error}", file=sys.stderr)
            else:
                print(codec.encode(result.record).decode())
            failed += not result.completed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
