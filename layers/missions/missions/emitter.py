"""The safe emitter (specification, "Module-Level EventStream Pattern"): publishes and never raises.

What it could not publish stays in the outbox, and the relay publishes it later.
"""

from collections.abc import Sequence
from functools import cache
from typing import Protocol

from aws_lambda_powertools import Logger

from missions.charter import Event
from missions.settings import settings

logger = Logger(service="missions_service")


class EventStream(Protocol):
    """Where events go: EventBridge, or whatever a test listens with."""

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish events; for each, None when it was accepted, else the error's code. May raise anything."""


_event_stream: EventStream | None = None


def set_event_stream(stream: EventStream | None) -> None:
    """Publish to this stream instead of the bus that the settings name; None goes back to the settings."""
    global _event_stream
    _event_stream = stream


def event_stream() -> EventStream | None:
    """The stream in use, or None: then nothing is published and nothing enters the outbox."""
    return _event_stream or _bus()


@cache
def _bus() -> EventStream | None:
    name = settings().event_bus_name
    if not name:
        logger.warning("EVENT_BUS_NAME is not set: no events are kept or published")
        return None
    from missions.eventbridge import EventBridge  # boto3 costs 200 ms, and only those who publish need it

    return EventBridge(name)


def emit(namespace: str, facts: Sequence[str]) -> list[bool]:
    """Publish the events of these facts; tells for each whether it was accepted. Never raises, logs at ERROR."""
    accepted = [False] * len(facts)
    events: list[Event] = []
    try:
        stream = event_stream()
        if stream is None:
            return accepted
        events = [Event.from_facts(namespace, each) for each in facts]
        errors = stream.publish(events)
    except Exception as error:  # boto3 can raise anything, and the change is saved: the caller must not see this
        logger.exception("Events stay in the outbox", event_ids=[event.id for event in events], error=repr(error))
        return accepted
    failed = {event.id: error for event, error in zip(events, errors, strict=True) if error}
    if failed:
        logger.error("EventBridge refused events; they stay in the outbox", event_ids=failed)
    return [error is None for error in errors]
