"""As a view of Django or Flask would: hand in one document under a key and wait: python extract_sync.py FILE KEY

Run it twice with the same key, and the document is worked on once.
"""

import sys

from billow.client.sync import Billow


def main(path: str, key: str) -> int:
    with Billow() as billow:
        record = billow.extract(path, idempotency_key=key, timeout=600)
    print(record.document_id)
    for name, field in record.fields.items():
        print(f"{name}: {field.value} ({field.confidence:.0%})")
    if record.error is not None:
        print(record.error.message, file=sys.stderr)
    return 0 if record.status == "completed" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
