"""Charter events to EventBridge, through PutEvents."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
            ),
        )

    def exists(self) -> bool:
        """Whether the bus exists: PutEvents answers success when it does not. Raises what boto3 does."""
        try:
            self._client.describe_event_bus(Name=self._bus)
        except self._client.exceptions.ResourceNotFoundException:
            return False
        return True

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
