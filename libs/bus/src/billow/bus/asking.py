"""One question to models and the queues that it lies in: sent once, answered once, taken back when nobody needs it."""

import asyncio
import hashlib
import time
from collections.abc import Collection, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.patience import Document
from billow.bus.publish import publish
from billow.bus.topology import INFERENCE, RESULTS, inference_consumer
from billow.runtime.errors import PermanentError, TransientError
from billow.runtime.tasks import end_tasks
from billow.schemas import codec, subjects
from billow.schemas.events import Event
from billow.schemas.inference import InferenceResult, InferenceWork, Payload
from billow.schemas.labels import Lane, Task

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 3.0
_REMEMBERED = 10_000
_CLOSING_SECONDS = 2.0
_DENIED_SECONDS = 300.0


class _Sent(NamedTuple):
    """Work that may still lie in a queue."""

    sequence: int
    task: Task
    lane: Lane
    document: Document


class Desk:
    """Sends work and remembers what of it may still lie in the queues. Keep one a process."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._sent: dict[str, dict[str, _Sent]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._denied_until = 0.0

    async def send(self, question: str, work: InferenceWork, task: Task) -> None:
        """Put work into its model's queue, unless it still lies there. `question` is the same for all models.

        Raises:
            BusyError: the queue is full.
            TransientError: the server does not answer.
        """
        if await self._still_queued(question, work.model):
            return
        # A work queue drops a repeated id even after the first was done, so each sending has an id of its own.
        sequence = await publish(
            self.bus,
            subjects.inference(task, work.model, work.lane, work.tenant),
            codec.encode(work, codec.MSGPACK),
            message_id=f"{work.request_id}.{time.time_ns()}",
            stream=INFERENCE.name,
            extra={headers.CONTENT_TYPE: codec.MSGPACK},
            bulk=work.lane == "bulk",
        )
        document = (work.tenant, work.document_id, work.revision, work.run_id)
        self._sent.setdefault(question, {})[work.model] = _Sent(sequence, task, work.lane, document)
        while len(self._sent) > _REMEMBERED:
            self._sent.pop(next(iter(self._sent)))

    async def look(self, subject: str) -> InferenceResult | None:
        """The stored answer, if there is one and the server can be asked."""
        if not self.bus.client.is_connected:
            return None
        try:
            message = await self.bus.js.get_last_msg(RESULTS.name, subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as e:
            log.debug("cannot look for a result", subject=subject, reason=repr(e))
            return None
        return _decode(message.data or b"")

    async def take_back(self, question: str, model: str) -> bool:
        """Take work out of the queue that no worker has begun; False if one has, or we may not.

        A worker may get it in the moment between: then it is done for nothing.
        """
        sent = self._sent.get(question, {}).get(model)
        if sent is None or time.monotonic() < self._denied_until or await self._begun(sent, model):
            return False
        try:
            with translated("taking back work"):
                gone = await self.bus.js.delete_msg(INFERENCE.name, sent.sequence)
        except (TransientError, PermanentError) as e:
            if not isinstance(e.__cause__, nats.js.errors.Error):
                # No answer at all: a user who lacks the right gets none.
                self._denied_until = time.monotonic() + _DENIED_SECONDS
            log.debug("work not taken back", model=model, reason=str(e))
            return False
        self._sent.get(question, {}).pop(model, None)
        return gone

    async def forget(self, document: Document) -> None:
        """Take out of all queues what was asked for this document, as far as no worker has begun with it."""
        for question, by_model in list(self._sent.items()):
            for model in [model for model, sent in by_model.items() if sent.document == document]:
                await self._take_back_and_forget(question, model)

    def settle(self, question: str, answered_by: str) -> None:
        """The question is answered: what still lies in other models' queues is taken out, in the background."""
        for model in self._sent.get(question, {}):
            if model != answered_by:
                self._in_background(self._take_back_and_forget(question, model))
        if set(self._sent.get(question, ())) <= {answered_by}:
            self._sent.pop(question, None)

    async def close(self) -> None:
        """Finish what runs in the background, within seconds."""
        if self._background:
            await asyncio.wait(self._background, timeout=_CLOSING_SECONDS)
        await end_tasks(list(self._background))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _take_back_and_forget(self, question: str, model: str) -> None:
        await self.take_back(question, model)
        left = self._sent.get(question)
        if left is not None:
            left.pop(model, None)
            if not left:
                self._sent.pop(question, None)

    async def _begun(self, sent: _Sent, model: str) -> bool:
        spec = inference_consumer(sent.task, model, sent.lane)
        try:
            with translated("looking how far a model is"):
                info = await self.bus.js.consumer_info(spec.stream, spec.durable)
        except (TransientError, PermanentError) as e:
            # Without a consumer nobody ever served the model.
            return not isinstance(e.__cause__, nats.js.errors.NotFoundError)
        return info.delivered is None or info.delivered.stream_seq >= sent.sequence

    async def _still_queued(self, question: str, model: str) -> bool:
        found = self._sent.get(question, {}).get(model)
        if found is None:
            return False
        try:
            with translated("looking for queued work"):
                await self.bus.js.get_msg(INFERENCE.name, seq=found.sequence, direct=True)
        except TransientError as e:
            if isinstance(e.__cause__, nats.js.errors.NotFoundError):
                return False
            raise
        except PermanentError:
            return False
        return True


class _Ear(NamedTuple):
    """Where one answer arrives."""

    subscription: Subscription
    heard: "asyncio.Future[Msg]"


class Answer(NamedTuple):
    """Who answered what."""

    model: str
    result: InferenceResult


class Question:
    """One payload of one document. It may be put to several models; the first answer is the answer."""

    def __init__(self, desk: Desk, event: Event, payload: Payload, *, task: Task, lane: Lane) -> None:
        self._desk = desk
        self._event = event
        self._payload = payload
        self._task: Task = task
        self._lane: Lane = lane
        body = codec.encode(payload, codec.MSGPACK)
        self.size = len(body)
        """bytes of the payload as it travels"""
        self._body: bytes | None = body
        """The payload encoded, until it was sent once: it may be large."""
        self._digest = hashlib.blake2b(body, digest_size=16).digest()
        self._ids: dict[str, str] = {}
        self._id = self._hash("")
        self._answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked: dict[str, _Ear] = {}

    @property
    def asked(self) -> Collection[str]:
        """The models that it was put to."""
        return self._asked.keys()

    def subject(self, model: str) -> str:
        """Where the answer of `model` arrives, and is stored."""
        return subjects.result(self._event.tenant, self._task, self._hash(model))

    async def ask(self, model: str) -> None:
        """Put it to a model, unless it still lies in its queue from an earlier time. Raises as `Desk.send`."""
        if model not in self._asked:
            # Subscribed before the work is out, so that no answer can pass unseen.
            self._asked[model] = await self._listen(model)
        await self._desk.send(self._id, self._work(model), self._task)

    async def _listen(self, model: str) -> "_Ear":
        """For one answer, by a future: a callback has a queue and a task of its own."""
        subject, client = self.subject(model), self._desk.bus.client
        heard: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        def on_answer(_: "asyncio.Future[Msg]") -> None:
            if heard.cancelled() or self._answered.done():
                return
            try:
                self._answered.set_result(Answer(model, _decode(heard.result().data)))
            except PermanentError as e:
                self._answered.set_exception(e)

        heard.add_done_callback(on_answer)
        with translated(f"subscribing to {subject}"):
            # One message: a second would find the future done, and end the client's reading loop.
            subscription = await client.subscribe(subject, future=heard, max_msgs=1)  # pyright: ignore[reportUnknownMemberType]
            await subscription.unsubscribe(limit=1)
        return _Ear(subscription, heard)

    async def wait(self, seconds: float, until: "asyncio.Future[None] | None" = None) -> Answer | None:
        """The answer of any model; None after `seconds`, or when `until` is done first.

        Raises:
            PermanentError: the answer is none, code `bad_answer`.
        """
        end = time.monotonic() + seconds
        waiting: set[asyncio.Future[Any]] = {self._answered, until} if until is not None else {self._answered}
        while (left := end - time.monotonic()) > 0:
            await asyncio.wait(waiting, timeout=min(left, _LOOK_AGAIN_SECONDS), return_when=asyncio.FIRST_COMPLETED)
            # An answer that came while the connection was down is in the stream all the same.
            found = self._answered.result() if self._answered.done() else None
            if found is None and (until is None or not until.done()):
                found = await self.look(self._asked)
            if found is not None or (until is not None and until.done()):
                return found
        return None

    async def look(self, models: Iterable[str]) -> Answer | None:
        """A stored answer of one of these models, the first that has one."""
        for model in models:
            if (result := await self._desk.look(self.subject(model))) is not None:
                return Answer(model, result)
        return None

    async def take_back(self) -> bool:
        """Take it out of every queue where no worker has begun with it; False if one has, somewhere."""
        # Not a generator: each must be tried.
        return all([await self._desk.take_back(self._id, model) for model in list(self._asked)])

    def settle(self, answered_by: str) -> None:
        """It is answered; nobody else needs to."""
        self._desk.settle(self._id, answered_by)

    async def close(self) -> None:
        """Listen no more. What lies in a queue stays there."""
        for ear in self._asked.values():
            # One that heard its answer is gone already.
            if ear.heard.cancel():
                await self._desk.bus.unsubscribe(ear.subscription)
        if self._answered.done() and not self._answered.cancelled():
            self._answered.exception()

    def _work(self, model: str) -> InferenceWork:
        payload, self._body = self._payload if self._body is None else msgspec.Raw(self._body), None
        return InferenceWork(
            request_id=self._hash(model),
            tenant=self._event.tenant,
            document_id=self._event.document_id,
            model=model,
            lane=self._lane,
            # Raw bytes go out as they are; no other field is read before the work is encoded.
            payload=cast("Payload", payload),
            sent_at=datetime.now(UTC),
            deadline=self._event.deadline,
            run_id=self._event.run_id,
            revision=self._event.revision,
        )

    def _hash(self, model: str) -> str:
        found = self._ids.get(model)
        if found is None:
            found = self._ids[model] = self._digest_for(model)
        return found

    def _digest_for(self, model: str) -> str:
        event, digest = self._event, hashlib.blake2b(digest_size=16)
        for part in (event.tenant, event.document_id, str(event.revision), event.run_id or "", model):
            digest.update(part.encode() + b"\0")
        digest.update(self._digest)
        return digest.hexdigest()


def _decode(data: bytes) -> InferenceResult:
    try:
        return codec.decode(data, InferenceResult, codec.MSGPACK)
    except codec.CodecError as e:
        raise PermanentError(f"A worker answered what is no result: {e}", code="bad_answer") from e
