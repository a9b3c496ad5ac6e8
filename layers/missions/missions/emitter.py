"""The safe emitter (specification, "Module-Level EventStream Pattern"): publishes, never raises, never dawdles.

What it did not publish stays in the outbox, and the relay publishes it within minutes.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol

from aws_lambda_powertools import Logger

from missions.charter import Event
from missions.settings import settings

if TYPE_CHECKING:
    from missions.extension import Extension

DEADLINE = 0.8  # seconds after which a request begins no further batch; with one last time-out it stays below three
PAUSE = 10.0  # seconds, and up to twice that: after a failure requests leave their events to the relay
BATCH = 10  # events a call, as many as EventBridge takes
BATCH_BYTES = 1_000_000  # it takes less than this in all
ENVELOPE_BYTES = 1_000  # an envelope is at most this much longer than its facts

logger = Logger(service="missions_service")


class EventStream(Protocol):
    """Where events go: EventBridge, or whatever a test listens with."""

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish one batch; for each event, None when it was accepted, else the error's code. May raise anything."""


_event_stream: EventStream | None = None
_paused_until = 0.0


def set_event_stream(stream: EventStream | None) -> None:
    """Publish to this stream instead of the bus that the settings name; None goes back to the settings."""
    global _event_stream, _paused_until
    _event_stream = stream
    _paused_until = 0.0


@cache
def _bus_name() -> str:
    name = settings().event_bus_name
    if not name:
        logger.warning("EVENT_BUS_NAME is not set: no events are kept or published")
    return name


def has_event_stream() -> bool:
    """Whether events go anywhere; when not, nothing is published and nothing enters the outbox."""
    return _event_stream is not None or bool(_bus_name())


@cache
def _event_bridge() -> EventStream:
    from missions.eventbridge import EventBridge  # boto3 costs 200 ms, and only those who publish need it

    return EventBridge(_bus_name())


@cache
def extension() -> "Extension | None":
    """The extension of this sandbox, registered at the first call, which has to be while Lambda initialises it."""
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")  # the runtime's own, there before any request
    if not address:
        return None
    from missions.extension import Extension  # its HTTP client costs 10 ms, and only those who publish need it

    try:
        made = Extension(address)
    except Exception:
        logger.exception("No extension: events are published before the response")
        return None
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        from snapshot_restore_py import register_after_restore  # the runtime brings it

        register_after_restore(made.reconnect)
    return made


def after_response(task: Callable[[], None]) -> None:
    """Do this once the response was sent, or at once where there is no extension."""
    running = extension()
    if running:
        running.add(task)
    else:
        task()


def batches(facts: Sequence[str]) -> Iterator[slice]:
    """Cut facts, in order, into batches that EventBridge takes."""
    first = size = 0
    for position, text in enumerate(facts):
        added = len(text.encode()) + ENVELOPE_BYTES
        if position > first and (position - first == BATCH or size + added > BATCH_BYTES):
            yield slice(first, position)
            first, size = position, 0
        size += added
    if facts:
        yield slice(first, len(facts))


def emit(namespace: str, facts: Sequence[str]) -> list[bool]:
    """Publish the events of these facts; tells for each whether it was accepted. Never raises, logs at ERROR."""
    started = time.monotonic()
    accepted = [False] * len(facts)
    if started < _paused_until:
        return accepted
    try:
        for part in batches(facts):
            if time.monotonic() - started > DEADLINE:
                logger.error("Out of time: events stay in the outbox", event_count=len(facts) - part.start)
                break
            if not _emit_batch(namespace, facts, part, accepted):
                break
    except Exception:  # the change is saved: nothing that happens here may reach its caller
        logger.exception("Events stay in the outbox")
    return accepted


def _emit_batch(namespace: str, facts: Sequence[str], part: slice, accepted: list[bool]) -> bool:
    """Publish one batch and note what was accepted; False when the stream failed and the rest should wait."""
    events = [Event.from_facts(namespace, each) for each in facts[part]]
    try:
        errors = (_event_stream or _event_bridge()).publish(events)
        failed = {event.id: error for event, error in zip(events, errors, strict=True) if error}
        accepted[part] = [event.id not in failed for event in events]
    except Exception as error:  # boto3 can raise anything
        failed = {event.id: repr(error) for event in events}
    if failed:
        logger.error("Events were not accepted and stay in the outbox", events=failed)
        _pause()
    return not failed


def _pause() -> None:
    global _paused_until
    # SystemRandom, since SnapStart clones the state of random: sandboxes would all come back at once
    _paused_until = time.monotonic() + PAUSE * random.SystemRandom().uniform(1, 2)
