"""Charter events to EventBridge, through PutEvents."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config

from missions.domain.events import Event

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef


class EventBridge:
    """One event bus. One attempt and short timeouts: what fails stays in the outbox, so a caller need not wait."""

    def __init__(self, bus: str, region: str | None, read_timeout: float = 1) -> None:
        self._bus = bus
        self._client = boto3.client(
            "events",
            region_name=region,
            config=Config(
                connect_timeout=1,
                read_timeout=read_timeout,
                retries={"total_max_attempts": 1},
                tcp_keepalive=True,
                user_agent="missions",  # botocore's own is put together anew for each request, a sixth of its time
            ),
        )

    @classmethod
    def existing(cls, bus: str, region: str | None) -> Self:
        """A bus for the relay and for operators, who can wait longer than a caller.

        Raises RuntimeError when there is no such bus (PutEvents answers success, and the events are lost), and what
        boto3 does.
        """
        made = cls(bus, region, read_timeout=5)
        try:
            made._client.describe_event_bus(Name=bus)
        except made._client.exceptions.ResourceNotFoundException:
            raise RuntimeError(
                f"The event bus '{bus}' does not exist; create it. Its events wait in the outbox."
            ) from None
        return made

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish up to ten events, less than 1 MB in all; for each None when EventBridge took it, else its error."""
        trace = os.environ.get("_X_AMZN_TRACE_ID")  # Lambda sets it anew for each invocation
        entries = [self._entry(event) for event in events]
        if trace:
            for entry in entries:
                entry["TraceHeader"] = trace[:500]
        answer = self._client.put_events(Entries=entries).get("Entries", [])
        # botocore reads a 200 without a body as {}
        if len(answer) != len(events):
            return ["NoAnswer"] * len(events)
        return [entry.get("ErrorCode") or (None if entry.get("EventId") else "NoEventId") for entry in answer]

    def _entry(self, event: Event) -> "PutEventsRequestEntryTypeDef":
        return {
            "Source": event.source,
            "DetailType": event.type,
            "Detail": event.detail,
            "Time": datetime.fromtimestamp(event.timestamp, UTC),
            "EventBusName": self._bus,
        }
