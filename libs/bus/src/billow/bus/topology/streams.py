"""The streams."""

from billow.bus.topology.specs import DAY, GIB, HOUR, MINUTE, StreamSpec

DOCUMENTS = StreamSpec(
    name="DOCUMENTS",
    subjects=("documents.*.*.*",),
    description="The history of every document, and the source of replay.",
    why="90 days are what can be replayed and rebuilt. The bytes are a safety stop: a full stream refuses what is "
    "handed in rather than drop history. The duplicate window outlasts every retry of a publisher.",
    max_age=90 * DAY,
    max_bytes=16 * GIB,
    duplicate_window=10 * MINUTE,
)
RUNS = StreamSpec(
    name="RUNS",
    subjects=("runs.*.*.*.*",),
    description="Replays: what was sent again, and everything that was made of it; never the record.",
    why="A stream of its own, so that a replay can neither fill DOCUMENTS nor be taken for the record; 30 days are "
    "time to look at a report and promote it.",
    max_age=30 * DAY,
    max_bytes=16 * GIB,
    duplicate_window=10 * MINUTE,
)
INFERENCE = StreamSpec(
    name="INFERENCE",
    subjects=("inference.*.*.*.*",),
    description="Work for models.",
    why="A model that nobody serves fills its own subjects only: sixteen that are full of large pages fit. What does "
    "not fit is refused, never dropped.",
    retention="workqueue",
    max_bytes=8 * GIB,
    max_msgs_per_subject=500,
    discard_new_per_subject=True,
)
RESULTS = StreamSpec(
    name="RESULTS",
    subjects=("results.*.*.*",),
    description="What workers answered, for callers that come back.",
    why="A caller that comes back later than an hour asks the model again, so the oldest answers may go.",
    discard="old",
    max_age=HOUR,
    max_bytes=4 * GIB,
    max_msgs_per_subject=1,
)
DEADLETTERS = StreamSpec(
    name="DEADLETTERS",
    subjects=("deadletters.*.*.*",),
    description="What could not be processed, whole, with the reason.",
    why="As long as the history of the document. Full, it refuses, and the message that died stays where it was.",
    max_age=90 * DAY,
    max_bytes=4 * GIB,
    duplicate_window=10 * MINUTE,
)
SHADOWS = StreamSpec(
    name="SHADOWS",
    subjects=("shadows.*.*.*",),
    description="What shadow models made of work that another model did, and how far they agree.",
    why="For statistics only, so the oldest may go.",
    discard="old",
    max_age=30 * DAY,
    max_bytes=GIB,
)
STREAMS: tuple[StreamSpec, ...] = (DOCUMENTS, RUNS, INFERENCE, RESULTS, DEADLETTERS, SHADOWS)
