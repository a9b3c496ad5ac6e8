"""The Charter v1.0 envelope and the three mission events (specification, "Event Types").

An event begins as facts: JSON text that the store's script completes with a sequence and a timestamp and puts into the
outbox. From these alone `Event.from_facts` builds the envelope, for the request that wrote them and for the relay.
"""

import json
from typing import Any, ClassVar, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from missions.models import LogLevel, MissionStatus

EventType = Literal["mission.created", "mission.status_changed", "mission.log_appended"]


class _Deferred(BaseModel):
    model_config = ConfigDict(defer_build=True)


class MissionCreated(_Deferred):
    """Payload of mission.created; `created_at` in Unix seconds."""

    time_field: ClassVar = "created_at"

    mission_id: str
    name: str
    description: str
    status: Literal[MissionStatus.PENDING]
    created_at: float


class MissionStatusChanged(_Deferred):
    """Payload of mission.status_changed; `changed_at` in Unix seconds."""

    time_field: ClassVar = "changed_at"

    mission_id: str
    old_status: MissionStatus
    new_status: MissionStatus
    changed_at: float


class MissionLogAppended(_Deferred):
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


class Event(_Deferred):
    """The Charter v1.0 envelope; `timestamp` in Unix seconds.

    `meta` carries `namespace`, `sequence` (counts the events of one mission from 1 without gaps) and, on a status
    change that gave one, `reason`.
    """

    id: str
    type: EventType
    source: Literal["missions_service"] = "missions_service"
    target: str | None
    timestamp: float
    payload: MissionCreated | MissionStatusChanged | MissionLogAppended
    meta: dict[str, Any]

    @classmethod
    def from_facts(cls, namespace: str, text: str) -> "Event":
        """Build the envelope from an outbox entry."""
        facts = json.loads(text)
        kind = PAYLOADS[facts["type"]]
        moment = facts["timestamp"]
        status = {"old_status": facts["old_status"]} if "old_status" in facts else {}
        payload = kind.model_validate({**facts["payload"], **status, kind.time_field: moment})
        return cls(
            id=facts["id"],
            type=facts["type"],
            target=None if kind is MissionCreated else f"mission_{payload.mission_id}",
            timestamp=moment,
            payload=payload,
            meta={"namespace": namespace, "sequence": facts["sequence"], **facts["meta"]},
        )


def facts(event_type: EventType, payload: dict[str, Any], **meta: Any) -> str:
    """The facts of a new event, open at the front for what the store knows; its id is fixed here, for good."""
    return to_json({"id": str(uuid4()), "type": event_type, "payload": payload, "meta": meta}).decode()[1:]
