"""A copy of the streams in a folder, and the way back.

The server's own snapshots (ADR-63) hold every message with its sequence, time and headers. Consumers are not taken from
them: what they had settled when the backup *began* is noted instead, before anything is copied. So whatever counts as
done after a restore has its outcome in the copy, and the rest is done again, which is idempotent.
"""

from billow.bus.backup.book import BackupError, Book, Consumer, Entry, read_book
from billow.bus.backup.choice import REMADE
from billow.bus.backup.restoring import Restored, restore, wanted
from billow.bus.backup.taking import take
from billow.bus.backup.verify import verify

__all__ = [
    "REMADE",
    "BackupError",
    "Book",
    "Consumer",
    "Entry",
    "Restored",
    "read_book",
    "restore",
    "take",
    "verify",
    "wanted",
]
