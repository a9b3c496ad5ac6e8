"""Charter events to EventBridge, through PutEvents."""

import os
from collections.abc import Sequence
from typing import Any, Self

from missions.aws import JsonApi, Refused
from missions.deadline import within
from missions.domain.events import Event

DESCRIBE = 8.0  # seconds to ask whether there is a bus


class EventBridge:
    """One event bus. One attempt and a short timeout: what fails stays in the outbox, so a caller need not wait."""

    def __init__(self, bus: str, region: str | None, timeout: float = 1) -> None:
        self._bus = bus
        self._api = JsonApi("events", "AWSEvents", "EVENTBRIDGE", region, timeout)

    @classmethod
    def existing(cls, bus: str, region: str | None) -> Self:
        """A bus for the relay and for operators, who can wait longer than a caller.

        Raises RuntimeError when there is no such bus (PutEvents answers success, and the events are lost),
        TimeoutError, and what `publish` does.
        """
        made = cls(bus, region, timeout=5)
        try:
            within(DESCRIBE, lambda: made._api.call("DescribeEventBus", {"Name": bus}))
        except Refused as refusal:
            if refusal.code != "ResourceNotFoundException":
                raise
            raise RuntimeError(
                f"The event bus '{bus}' does not exist; create it. Its events wait in the outbox."
            ) from None
        return made

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish up to ten events, less than 1 MB in all; for each None when EventBridge took it, else its error.

        Raises what JsonApi.call does.
        """
        entries = [self._entry(event) for event in events]
        trace = os.environ.get("_X_AMZN_TRACE_ID")  # Lambda sets it for each invocation
        if trace:
            for entry in entries:
                entry["TraceHeader"] = trace[:500]
        answer = self._api.call("PutEvents", {"Entries": entries}).get("Entries")
        if not isinstance(answer, list) or len(answer) != len(events):
            return ["NoAnswer"] * len(events)
        return [_error(each) for each in answer]

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "Source": event.source,
            "DetailType": event.type,
            "Detail": event.detail,
            "Time": event.timestamp,
            "EventBusName": self._bus,
        }


def _error(entry: Any) -> str | None:
    """The error of an entry in the answer; None when it was taken, for which it must have an id."""
    if not isinstance(entry, dict):
        return "NoAnswer"
    return str(entry["ErrorCode"]) if entry.get("ErrorCode") else None if entry.get("EventId") else "NoEventId"
