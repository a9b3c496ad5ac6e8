"""The safe emitter (specification, "Module-Level EventStream Pattern"): publishes, never raises, never takes long.

What it did not publish stays in the outbox, and the relay publishes it within minutes.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from missions.deadline import within
from missions.domain.events import Event, OutboxEntry
from missions.log import logger
from missions.storage.keys import partition_of
from missions.storage.outbox import Outbox, Settlement

DEADLINE = 1.5  # seconds for all that a request publishes; to settle it is one command more
CALL_EVENTS = 10  # that one call takes
CALL_LENGTH = 200_000  # characters of entries that are put together: a call takes a megabyte
PAUSE = 10.0  # seconds, and up to twice that: after a failure requests leave their events to the relay


Outgoing = tuple[OutboxEntry, list[Event]]


class EventStream(Protocol):
    """Where events go: EventBridge, or what a test listens with."""

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish up to ten events; for each, None when it was accepted, else the error's code. May raise anything."""


class Emitter:
    """Publishes the events of requests. `connect` makes the stream, at the first event; without it nothing goes out."""

    def __init__(self, connect: Callable[[], EventStream] | None) -> None:
        self._make = connect
        self._stream: EventStream | None = None
        self._paused_until = 0.0

    @property
    def enabled(self) -> bool:
        """Whether events go anywhere; if not, nothing is published and nothing enters the outbox."""
        return self._make is not None

    def connect(self) -> EventStream:
        """The stream, made at the first call. Raises whatever making it does."""
        if self._stream is None:
            if self._make is None:
                raise RuntimeError("there is no event stream")
            self._stream = self._make()
        return self._stream

    def publish(self, outbox: Outbox, entries: Sequence[OutboxEntry]) -> None:
        """Publish the entries of one request and settle them. Never raises; failures are logged at ERROR."""
        if time.monotonic() < self._paused_until:
            return
        settlements: list[Settlement] = []
        try:
            stream = self.connect()  # costs the first request an import, which is not counted as EventBridge's time
            deadline = time.monotonic() + DEADLINE
            for group in _together(entries):
                left = deadline - time.monotonic()
                if left <= 0:
                    logger.error("Out of time: events stay in the outbox", mission_id=group[0][0].mission_id)
                    break
                settled, failed = self._emit(stream, group, left)
                settlements += settled
                if failed:
                    self.pause()
                    break
        except Exception:  # the change is saved: nothing that happens here may reach its caller
            logger.exception("Events stay in the outbox")
            self.pause()
        if settlements:
            try:
                outbox.settle(partition_of(entries[0].namespace), settlements)
            except Exception:
                logger.exception("Published events stay in the outbox and will be published again")

    def pause(self) -> None:
        """Leave the events of the next seconds to the relay."""
        # SystemRandom, since SnapStart clones the state of random: sandboxes would all come back at once
        self._paused_until = time.monotonic() + PAUSE * random.SystemRandom().uniform(1, 2)

    def _emit(self, stream: EventStream, group: Sequence[Outgoing], seconds: float) -> tuple[list[Settlement], bool]:
        """Publish in one call; gives what became of entries of which something was accepted, and if anything failed."""
        events = [event for _, own in group for event in own]
        try:
            # The stream's own time-out is one for each step. What is accepted too late is published again, with its id.
            errors = within(seconds, lambda: stream.publish(events))
            failed = {event.id: error for event, error in zip(events, errors, strict=True) if error}
        except Exception as error:  # of the network, of credentials, of EventBridge
            failed = {event.id: repr(error) for event in events}
        if failed:
            missions = list(dict.fromkeys(entry.mission_id for entry, _ in group))
            logger.error("Events were not accepted and stay in the outbox", mission_ids=missions, events=failed)
        settlements = []
        for entry, own in group:
            again = [event.id for event in own if event.id in failed]
            if len(again) < len(own):
                settlements.append(Settlement(entry.id, again=entry.only(again) if again else ""))
        return settlements, bool(failed)


def _together(entries: Sequence[OutboxEntry]) -> Iterator[list[Outgoing]]:
    """Entries in order, as many as one call takes. One entry never has more than that."""
    group: list[Outgoing] = []
    events = size = 0
    for entry in entries:
        own = entry.envelopes()
        more = sum(len(event.detail) for event in own)
        if group and (events + len(own) > CALL_EVENTS or size + more > CALL_LENGTH):
            yield group
            group, events, size = [], 0, 0
        group.append((entry, own))
        events, size = events + len(own), size + more
    if group:
        yield group
