"""The relay: publishes what the requests did not, so that no event is lost.

It reads the outboxes of the partitions that have something, a page each in turn, oldest first, beginning with another
partition each run. Only what EventBridge can never take is put aside as a dead letter; all else stays in the outbox and
is tried again by the next run.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Self

from missions.aws import Refused
from missions.deadline import within
from missions.domain.events import BROKEN, Event, OutboxEntry
from missions.log import logger
from missions.publishing.emitter import EventStream
from missions.storage.outbox import Backlog, Outbox, Settlement

PAGE = 500  # entries read at once
TOGETHER = 50  # partitions read at once, since an entry may have half a megabyte
MIN_AGE = 5_000  # milliseconds: a younger entry is still being published by its own request
THREADS = 8  # calls of PutEvents at once
CALL = 8.0  # seconds for one of them, since the stream's own time-out is one for each step
BATCH = 10  # events that a call takes
BATCH_BYTES = 1_000_000  # it takes less than this in all
ENVELOPE_BYTES = 500  # what an event is counted with besides its detail
NEVER = {"MalformedDetail", "InvalidArgument", "TooLarge"}  # the event's own fault, which no repair elsewhere mends
THROTTLED = {"ThrottlingException", "ThrottledException", "LimitExceededException"}
REFUSED_WHOLE = {"ValidationException", "RequestEntityTooLargeException"}  # one event spoils its batch
NOT_TRIED = "NotTried"


@dataclass
class Report:
    """What a run found, in outbox entries (a write's events), and what it did, in events.

    `oldest` is an age in milliseconds, `unread` how often a partition could not be read or settled.
    """

    waiting: int = 0
    oldest: int = 0
    dead: int = 0
    published: int = 0
    died: int = 0
    left: int = 0
    unread: int = 0
    ended: str = "nothing is left that is old enough"


class _Sent(NamedTuple):
    """An event on its way, and the place of its entry among those that are published with it."""

    place: int
    event: Event
    size: int


def survey(outbox: Outbox) -> tuple[list[Backlog], Report]:
    """What waits, partition by partition and in all. Raises StoreUnavailable."""
    backlogs, unread = outbox.survey()
    report = Report(
        waiting=sum(each.waiting for each in backlogs),
        oldest=max((_age(each.first) for each in backlogs if each.first), default=0),
        dead=sum(each.dead for each in backlogs),
        unread=len(unread),
    )
    return backlogs, report


def drain(
    outbox: Outbox,
    stream: EventStream,
    backlogs: Sequence[Backlog],
    report: Report,
    more_time: Callable[[], bool] = lambda: True,
) -> None:
    """Publish what waits, until all was tried once or `more_time` says no.
    Partitions are read in turn; one that does not answer is left to the next run.
    """
    waiting = [each for each in backlogs if each.waiting]
    # SystemRandom, since SnapStart clones the state of random
    first = random.SystemRandom().randrange(len(waiting)) if waiting else 0
    todo = {each.partition: ("0-0", each.waiting) for each in waiting[first:] + waiting[:first]}
    with Run(outbox, stream, report, more_time) as run:
        while todo and run.goes_on():
            places = _next(todo)
            entries: list[tuple[int, OutboxEntry]] = []
            for (partition, _, _), page in zip(places, outbox.read_each(places, MIN_AGE), strict=True):
                _, count = todo.pop(partition)
                if page is None:
                    report.unread += 1
                    continue
                entries += ((partition, entry) for entry in page.entries)
                if page.after and count > len(page.entries):
                    todo[partition] = page.after, count - len(page.entries)  # in turn, behind the others
            for partition in run.publish(entries):
                todo.pop(partition, None)  # what comes behind it waits for the next run, too


def _next(todo: Mapping[int, tuple[str, int]]) -> list[tuple[int, str, int]]:
    """What to read together: partitions, where to begin and how many entries, no more than there were in the survey.

    What is added again behind the others is for the next run.
    """
    places: list[tuple[int, str, int]] = []
    room = PAGE
    for partition, (after, count) in todo.items():
        places.append((partition, after, min(room, count)))
        room -= count
        if room <= 0 or len(places) == TOGETHER:
            break
    return places


class Run:
    """One run, with its threads: pages are published until EventBridge fails, or `more_time` says no."""

    def __init__(self, outbox: Outbox, stream: EventStream, report: Report, more_time: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._stream = stream
        self._report = report
        self._more_time = more_time
        self._threads = ThreadPoolExecutor(THREADS)
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def goes_on(self) -> bool:
        """Whether there is time, and EventBridge works."""
        if self._failed:
            return False
        if self._more_time():
            return True
        self._report.ended = "the time is up"
        return False

    def publish(self, pages: Sequence[tuple[int, OutboxEntry]]) -> list[int]:
        """Publish entries of partitions and settle them: delete what was accepted, put aside what never will be.

        Gives the partitions that could not be settled.
        """
        self._report.oldest = max([self._report.oldest, *(_age(entry.moment) for _, entry in pages)])
        errors: list[dict[str, str | None]] = [{} for _ in pages]  # of each entry, by the ids of its events
        sent: list[_Sent] = []
        broken: dict[int, str] = {}
        for place, (_, entry) in enumerate(pages):
            try:
                sent += [_Sent(place, event, len(event.detail.encode())) for event in entry.envelopes()]
            except BROKEN as failure:  # no event can be made of it, so EventBridge can never take it
                broken[place] = f"MalformedDetail: {failure!r}"
        for each in sent:
            errors[each.place][each.event.id] = NOT_TRIED
        try:
            for batch, outcomes in self._threads.map(self._put, _batches(sent)):
                for each, error in zip(batch, outcomes, strict=True):
                    errors[each.place][each.event.id] = error
        finally:  # what was accepted before a failure must not be published again
            unsettled = self._settle(pages, errors, broken)
        return unsettled

    def _settle(
        self,
        pages: Sequence[tuple[int, OutboxEntry]],
        errors: Sequence[dict[str, str | None]],
        broken: dict[int, str],
    ) -> list[int]:
        settlements: dict[int, list[Settlement]] = {}
        left: Counter[str] = Counter()
        for place, ((partition, entry), outcomes) in enumerate(zip(pages, errors, strict=True)):
            if place in broken:
                settlements.setdefault(partition, []).append(Settlement(entry.id, dead="*", error=broken[place]))
                self._report.died += 1
                continue
            dead = {event_id: error for event_id, error in outcomes.items() if error in NEVER}
            again = {event_id: error for event_id, error in outcomes.items() if error and error not in NEVER}
            self._report.published += len(outcomes) - len(dead) - len(again)
            self._report.died += len(dead)
            self._report.left += len(again)
            left.update(error for error in again.values() if error != NOT_TRIED)
            if len(again) < len(outcomes):
                settlements.setdefault(partition, []).append(
                    Settlement(
                        entry.id,
                        again=entry.only(again) if again else "",
                        dead=entry.only(dead) if dead else "",
                        error=", ".join(sorted(filter(None, set(dead.values())))),
                    )
                )
        settled = self._outbox.settle_each(settlements)
        # The next run publishes these again, with the same ids.
        unsettled = [partition for partition, count in zip(settlements, settled, strict=True) if count is None]
        self._report.unread += len(unsettled)
        if dead_ones := [one.entry_id for each in settlements.values() for one in each if one.dead]:
            logger.error("EventBridge can never take these events; they are dead letters now", entry_ids=dead_ones)
        if left:
            logger.error("Events are not accepted yet; they stay in the outbox", errors=left)
        return unsettled

    def _put(self, batch: Sequence[_Sent]) -> tuple[Sequence[_Sent], list[str | None]]:
        return batch, self._errors(batch)

    def _errors(self, batch: Sequence[_Sent]) -> list[str | None]:
        """Publish a batch; for each event None or its error. One that is refused whole is split until one is left."""
        if not self.goes_on():
            return [NOT_TRIED] * len(batch)
        try:
            errors = within(CALL, lambda: self._stream.publish([each.event for each in batch]))
        except Refused as failure:
            refusal = failure.code
            if refusal not in REFUSED_WHOLE:
                return self._fail(refusal, batch)
        except Exception as failure:  # of the network, of credentials
            return self._fail(repr(failure), batch)
        else:
            if len(errors) != len(batch):
                return ["NoAnswer"] * len(batch)
            if THROTTLED.intersection(filter(None, errors)):
                self._fail("it throttles")
            return errors
        if len(batch) == 1:
            return ["TooLarge" if batch[0].size + ENVELOPE_BYTES > BATCH_BYTES else refusal]
        half = len(batch) // 2
        return self._errors(batch[:half]) + self._errors(batch[half:])

    def _fail(self, error: str, batch: Sequence[_Sent] = ()) -> list[str | None]:
        """EventBridge failed as a whole, or throttles: this run ends."""
        if not self._failed:
            self._failed = True
            self._report.ended = f"EventBridge failed: {error}"
            logger.error("The relay ends early; what it did not publish stays in the outbox", error=error)
        return [error] * len(batch)


def _age(moment: int) -> int:
    """Milliseconds since this write. What is added again keeps its moment, so the oldest need not be the first."""
    return max(0, int(time.time() * 1000) - moment // 1000)


def _batches(events: Iterable[_Sent]) -> Iterator[list[_Sent]]:
    """Events in order, as many at once as EventBridge takes."""
    batch: list[_Sent] = []
    size = 0
    for each in events:
        added = each.size + ENVELOPE_BYTES
        if batch and (len(batch) == BATCH or size + added > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += added
    if batch:
        yield batch
