"""A process that looks for garbage rarely still finds it."""

import subprocess
import sys

CODE = """
import gc, weakref
from billow.runtime.garbage import look_for_garbage_rarely

class Ring:
    def __init__(self):
        self.itself = self

look_for_garbage_rarely()
ring = weakref.ref(Ring())
kept = []
while ring() is not None and len(kept) < 1_000_000:
    kept.append([])
print(gc.get_freeze_count() > 0, gc.isenabled(), ring() is None)
"""


def test_what_is_there_is_not_looked_at_again_and_new_cycles_are_freed() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]
