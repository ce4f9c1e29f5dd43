"""A backend that misses no record, however often it restarts: python listen.py [COUNT]"""

import asyncio
import sys

from billow.client import Billow
from billow.schemas.events import Completed, Failed


async def main(count: int | None) -> None:
    async with Billow() as billow, billow.subscribe("example-python", kinds=["completed", "failed"]) as events:
        print("listening", file=sys.stderr, flush=True)
        async for event in events:
            if isinstance(event, Completed | Failed):
                total = event.record.fields.get("total")
                print(event.document_id, event.record.status, total.value if total else "", sep="\t", flush=True)
            # What was printed is done when the next one is asked for, or the block ends.
            count = None if count is None else count - 1
            if count == 0:
                break


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else None))
