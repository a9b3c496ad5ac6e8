"""The safe emitter (specification, "Module-Level EventStream Pattern"): publishes, never raises, never takes long.

What it did not publish stays in the outbox, and the relay publishes it within minutes.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from missions.deadline import within
from missions.domain.events import Event, OutboxEntry
from missions.log import logger
from missions.storage.keys import partition_of
from missions.storage.outbox import Outbox, Settlement

DEADLINE = 1.5  # seconds for all that a request publishes; to settle it is one command more
PAUSE = 10.0  # seconds, and up to twice that: after a failure requests leave their events to the relay


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
            for entry in entries:
                left = deadline - time.monotonic()
                if left <= 0:
                    logger.error("Out of time: events stay in the outbox", mission_id=entry.mission_id)
                    break
                settlement = self._emit(stream, entry, left)
                if settlement:
                    settlements.append(settlement)
                if settlement is None or settlement.again:
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

    def _emit(self, stream: EventStream, entry: OutboxEntry, seconds: float) -> Settlement | None:
        """Publish one entry; None when nothing of it was accepted."""
        events = entry.envelopes()
        try:
            # The stream's own time-out is one for each step. What is accepted too late is published again, with its id.
            errors = within(seconds, lambda: stream.publish(events))
            failed = {event.id: error for event, error in zip(events, errors, strict=True) if error}
        except Exception as error:  # of the network, of credentials, of EventBridge
            failed = {event.id: repr(error) for event in events}
        if failed:
            logger.error("Events were not accepted and stay in the outbox", mission_id=entry.mission_id, events=failed)
        if len(failed) == len(events):
            return None
        return Settlement(entry.id, again=entry.only(failed) if failed else "")
