"""Stands in for a process that makes load: 10 items in each second that counts, all in 100 ms."""

import json
import sys

for line in sys.stdin:
    order = json.loads(line)
    if order.get("check"):
        print(json.dumps({"texts": ["Qty", "TOTAL"]}), flush=True)
        continue
    count = int(10 * order["seconds"])
    load = {
        "items": count * order["items"],
        "seconds": order["seconds"],
        "cpu_seconds": 0.1,
        "latencies_ms": [100.0] * count,
        "errors": int(order["callers"] == 13),
        "reason": "unlucky" if order["callers"] == 13 else "",
    }
    print(json.dumps(load), flush=True)
