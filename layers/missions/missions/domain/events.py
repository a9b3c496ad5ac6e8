"""The Charter v1.0 envelope and the three mission events (specification, "Event Types").

A write puts its events into the outbox as drafts: JSON in which everything stands but what only the store knows (the
moment, the sequence, the old status). `OutboxEntry.envelopes` completes them, for the emitter and for the relay alike.
"""

import json
import os
from collections.abc import Container, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from missions.domain.models import LogLevel, MissionStatus

EventType = Literal["mission.created", "mission.status_changed", "mission.log_appended"]
Draft = dict[str, Any]
# raised by a record that is broken
BROKEN = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


class _Model(BaseModel):
    model_config = ConfigDict(defer_build=True)


class MissionCreated(_Model):
    """Payload of mission.created; `created_at` in Unix seconds."""

    time_field: ClassVar = "created_at"

    mission_id: str
    name: str
    description: str
    status: Literal[MissionStatus.PENDING]
    created_at: float


class MissionStatusChanged(_Model):
    """Payload of mission.status_changed; `changed_at` in Unix seconds."""

    time_field: ClassVar = "changed_at"

    mission_id: str
    old_status: MissionStatus
    new_status: MissionStatus
    changed_at: float


class MissionLogAppended(_Model):
    """Payload of mission.log_appended; `appended_at` in Unix seconds."""

    time_field: ClassVar = "appended_at"

    mission_id: str
    log_level: LogLevel
    message: str
    appended_at: float


PAYLOADS: dict[EventType, type[MissionCreated | MissionStatusChanged | MissionLogAppended]] = {
    "mission.created": MissionCreated,
    "mission.status_changed": MissionStatusChanged,
    "mission.log_appended": MissionLogAppended,
}


class Event(_Model):
    """The Charter v1.0 envelope; `timestamp` in Unix seconds.

    `meta` carries `namespace`, `sequence` (counts the events of one mission from 1, without gaps), where there are any
    `tags` of the mission and the `actor` who did it and, on a change of status that gave one, `reason`.
    """

    id: str
    type: EventType
    source: Literal["missions_service"] = "missions_service"
    target: str | None
    timestamp: float
    payload: MissionCreated | MissionStatusChanged | MissionLogAppended
    meta: dict[str, Any]

    @cached_property
    def detail(self) -> str:
        """The envelope as JSON, as EventBridge gets it."""
        return self.model_dump_json()


def draft(event_type: EventType, payload: dict[str, Any], *, offset: int = 0, **meta: Any) -> Draft:
    """A new event, `offset` events after the first one of its write. Its id is fixed here, for good."""
    return {"id": _uuid4(), "type": event_type, "offset": offset, "payload": payload, "meta": meta}


def _uuid4() -> str:
    """A random UUID (version 4) as text, in a third of the time that uuid.uuid4 takes for an object and its text."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


class OutboxEntry(NamedTuple):
    """Events of one write, as the outbox keeps them.

    `id` is the stream's; `moment` is in Unix microseconds; `sequence` is that of the write's first event; `old_status`
    is empty, except for a change of status; `drafts` is a JSON array of drafts; `error` is why a dead letter is dead;
    `tags` are those of the mission; `content` is what its caller sent, as JSON, of a next attempt, whose drafts do not
    say it.
    """

    id: str
    namespace: str
    mission_id: str
    moment: int
    sequence: int
    old_status: str
    drafts: str
    error: str = ""
    tags: Sequence[str] = ()
    content: str = ""

    def envelopes(self) -> list[Event]:
        """The events. Raises one of BROKEN when the entry holds none."""
        made = [self._envelope(each) for each in json.loads(self.drafts)]
        if not made:
            raise ValueError("no drafts")
        return made

    def only(self, ids: Container[str]) -> str:
        """The drafts of the events with these ids, as JSON."""
        return json.dumps([each for each in json.loads(self.drafts) if each["id"] in ids], separators=(",", ":"))

    def _envelope(self, each: Draft) -> Event:
        kind = PAYLOADS[each["type"]]
        timestamp = self.moment / 1_000_000
        payload = {"mission_id": self.mission_id, **each["payload"], kind.time_field: timestamp}
        if kind is MissionStatusChanged:
            payload["old_status"] = self.old_status
        meta = {"namespace": self.namespace, "sequence": self.sequence + each["offset"], **each["meta"]}
        if self.tags:
            meta["tags"] = list(self.tags)
        if kind is MissionCreated and self.content:
            sent = json.loads(self.content)
            payload |= {"name": sent["name"], "description": sent.get("description", "")}
        return Event(
            id=each["id"],
            type=each["type"],
            target=None if kind is MissionCreated else f"mission_{self.mission_id}",
            timestamp=timestamp,
            payload=kind.model_validate(payload),
            meta=meta,
        )
