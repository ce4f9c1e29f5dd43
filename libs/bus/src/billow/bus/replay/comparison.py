"""Results beside results: what appeared, vanished, changed, and how much of it is right. Pure."""

from collections import Counter
from collections.abc import Mapping

import msgspec

from billow.bus.replay.results import Result
from billow.bus.replay.truth import Truth, is_right
from billow.schemas.labels import FIELD_NAMES, Task
from billow.schemas.replay import Accuracy, Changes, Example, TaskTime, Verdict

EXAMPLES = 5
"""Of each field and verdict."""
COMPARED: tuple[str, ...] = (*FIELD_NAMES, "items", "taxes", "status", "straight_through")
TASKS: tuple[Task, ...] = ("text-detection", "text-recognition", "token-classification")
_VERDICTS: tuple[Verdict, ...] = ("appeared", "vanished", "changed")
_SHOWN = 160


class Comparison:
    """Adds up pairs of results. Its size does not depend on how many they are."""

    def __init__(self) -> None:
        self.documents = 0
        self.new = 0
        """Without a result before."""
        self._counts = {name: Counter[str]() for name in COMPARED}
        self._examples: dict[str, dict[Verdict, list[Example]]] = {}
        self._accuracy: dict[str, Counter[str]] = {}
        self._times = {task: Counter[str]() for task in TASKS}
        self._seconds: dict[str, float] = {}

    def add(self, before: Result | None, after: Result, truth: Truth | None = None) -> None:
        """One document."""
        self.documents += 1
        self.new += before is None
        then, now = _values(before), _values(after)
        for name in COMPARED:
            self._compare(name, then.get(name, ""), now.get(name, ""), after)
        for name, accepted in (truth or {}).items():
            counts = self._accuracy.setdefault(name, Counter())
            counts["known"] += 1
            counts["before"] += is_right(name, then.get(name), accepted)
            counts["after"] += is_right(name, now.get(name), accepted)
        self._add_times(before, after)

    def changes(self) -> dict[str, Changes]:
        """By field, in the order in which fields are shown."""
        return {
            name: Changes(
                appeared=counts["appeared"],
                vanished=counts["vanished"],
                changed=counts["changed"],
                same=counts["same"],
                examples={verdict: tuple(found) for verdict, found in self._examples.get(name, {}).items()},
            )
            for name, counts in self._counts.items()
        }

    def accuracy(self) -> dict[str, Accuracy]:
        """Of the fields that the truth names."""
        return {
            name: Accuracy(known=counts["known"], before=counts["before"], after=counts["after"])
            for name in FIELD_NAMES
            if (counts := self._accuracy.get(name)) is not None
        }

    def task_time(self) -> dict[str, TaskTime]:
        """Of the tasks that any document has."""
        return {
            task: TaskTime(
                documents=counts["documents"], before_s=counts["before"] / 1e6, after_s=counts["after"] / 1e6
            )
            for task, counts in self._times.items()
            if counts["documents"]
        }

    def model_s(self, tasks: tuple[Task, ...]) -> float:
        """Model time in seconds that all new results took, of these tasks."""
        return sum(self._seconds.get(task, 0.0) for task in tasks)

    def _compare(self, name: str, before: str, after: str, result: Result) -> None:
        verdict = _verdict(before, after)
        if not verdict:
            return
        self._counts[name][verdict] += 1
        for wanted in _VERDICTS:
            if wanted == verdict:
                found = self._examples.setdefault(name, {}).setdefault(wanted, [])
                if len(found) < EXAMPLES:
                    found.append(
                        Example(
                            tenant=result.tenant,
                            document_id=result.document_id,
                            before=_short(before),
                            after=_short(after),
                        )
                    )

    def _add_times(self, before: Result | None, after: Result) -> None:
        for task in TASKS:
            now = after.timings_ms.get(task)
            then = None if before is None else before.timings_ms.get(task)
            if now is None:
                continue
            self._seconds[task] = self._seconds.get(task, 0.0) + now / 1000
            if then is not None:
                # Whole microseconds, so that the order in which they are added does not show.
                self._times[task].update(documents=1, before=round(then * 1000), after=round(now * 1000))


def _verdict(before: str, after: str) -> str:
    if before == after:
        return "same" if after else ""
    if not before:
        return "appeared"
    return "changed" if after else "vanished"


def _values(result: Result | None) -> Mapping[str, str]:
    """What is compared, as text; empty or absent where there is nothing."""
    if result is None:
        return {}
    values = {name: field.value for name, field in result.fields.items()}
    values["status"] = result.status
    values["straight_through"] = "yes" if result.straight_through else ""
    for name, rows in (("items", result.items), ("taxes", result.taxes)):
        if rows:
            values[name] = msgspec.json.encode(rows).decode()
    return values


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
