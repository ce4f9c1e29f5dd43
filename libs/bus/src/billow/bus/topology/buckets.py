"""The buckets: small state that processes share, and the originals of each tenant."""

from billow.bus.topology.specs import DAY, BucketSpec
from billow.bus.topology.streams import DOCUMENTS
from billow.schemas import subjects

IMAGES_MAX_AGE = DOCUMENTS.max_age + DAY
"""seconds; an original outlives every event that names it, also one that is sent again a while after its upload."""

WAITS_MAX_AGE = DOCUMENTS.max_age + DAY
"""seconds; outlives the messages it speaks of, else one that waited long would look like one that failed often."""

MODELS_MAX_AGE = 15.0
"""seconds without a word after which a worker counts as gone"""

ROUTES_HISTORY = 64
"""Versions of a route that can be seen and rolled back to."""

WAITS = BucketSpec(
    name="WAITS",
    description="How many deliveries of a message ended in an orderly wait, which do not count as failures.",
    why="Outlives the messages it speaks of, else one that waited long would look like one that failed often.",
    ttl=WAITS_MAX_AGE,
)
MODELS = BucketSpec(
    name="MODELS",
    description="Who serves which model now: key `<model>.<worker>`.",
    why="Workers say it every five seconds, so memory will do, and who is silent for three times that is gone.",
    ttl=MODELS_MAX_AGE,
    storage="memory",
)
ROUTES = BucketSpec(
    name="ROUTES",
    description="Which model does a task: key `<task>`; its revision is the route's version.",
    why="As many versions as a bucket can keep, to roll back to.",
    history=ROUTES_HISTORY,
    said_again="routes",
)
REPLAYS = BucketSpec(
    name="REPLAYS",
    description="What each replay was asked to do, how far it is, and its report: key `<run_id>.<part>`.",
    why="Kept for ever: whoever asks why a record changed finds the report of the run.",
)
TENANTS = BucketSpec(
    name="TENANTS",
    description="What a tenant may do and how long what is its is kept: key `<tenant>`.",
    why="Some versions, to see who was allowed what.",
    history=16,
    said_again="tenants",
)
ADMISSION = BucketSpec(
    name="ADMISSION",
    description="How much of its rate each tenant has used: key `<tenant>`.",
    why="Not in memory: a restart would forget the bucket, which clients may not make. After a day's rest the burst is "
    "whole again.",
    ttl=DAY,
)
ERASURES = BucketSpec(
    name="ERASURES",
    description="What each erasure removed: the report, key `<tenant>.<sequence>`; no content.",
    why="As long as the event that ordered it.",
    ttl=DOCUMENTS.max_age,
)
BUCKETS: tuple[BucketSpec, ...] = (WAITS, MODELS, ROUTES, REPLAYS, TENANTS, ADMISSION, ERASURES)

IMAGES_PREFIX = "IMAGES_"


def images_of(tenant: str) -> BucketSpec:
    """The bucket of a tenant's originals. Raises ValueError for a bad token."""
    return BucketSpec(
        name=subjects.images_bucket(tenant),
        kind="objects",
        description="Originals and page images of a tenant: key `<document_id>/original`.",
        why="An original outlives every event that names it. A tenant may have an age of its own, which is left alone.",
        ttl=IMAGES_MAX_AGE,
    )


WAITS_BUCKET = WAITS.name
MODELS_BUCKET = MODELS.name
ROUTES_BUCKET = ROUTES.name
REPLAYS_BUCKET = REPLAYS.name
TENANTS_BUCKET = TENANTS.name
ADMISSION_BUCKET = ADMISSION.name
