"""Charter events to EventBridge, through PutEvents."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import boto3
from botocore.config import Config

from missions.charter import Event

BATCH = 10  # entries a call, as many as EventBridge takes
BATCH_BYTES = 1_000_000  # it takes under 1 MB in all


class EventBridge:
    """One event bus. One attempt and short timeouts: what fails stays in the outbox, so waiting gains nothing."""

    def __init__(self, bus: str) -> None:
        self._bus = bus
        self._client = boto3.client(
            "events",
            config=Config(
                connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1}, tcp_keepalive=True
            ),
        )

    def publish(self, events: Sequence[Event]) -> list[str | None]:
        """Publish events in order; for each, None when EventBridge took it, else its error code."""
        return [error for batch in _batches(self._bus, events) for error in self._put(batch)]

    def _put(self, entries: list[dict[str, object]]) -> list[str | None]:
        answer = self._client.put_events(Entries=entries).get("Entries", [])
        # botocore reads a 200 without a body as {}: only an entry with an EventId was accepted.
        if len(answer) != len(entries):
            return ["NoAnswer"] * len(entries)
        return [None if entry.get("EventId") else entry.get("ErrorCode", "NoEventId") for entry in answer]


def _batches(bus: str, events: Sequence[Event]) -> Iterator[list[dict[str, object]]]:
    batch: list[dict[str, object]] = []
    size = 0
    for event in events:
        detail = event.model_dump_json()
        entry_size = len(detail.encode()) + len(event.type) + len(event.source) + 14  # 14: the Time
        if batch and (len(batch) == BATCH or size + entry_size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(
            {
                "Source": event.source,
                "DetailType": event.type,
                "Detail": detail,
                "Time": datetime.fromtimestamp(event.timestamp, UTC),
                "EventBusName": bus,
            }
        )
        size += entry_size
    if batch:
        yield batch
