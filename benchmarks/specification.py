"""The specification's own way, written anew ("Implementation in service.py"): synchronous redis-py, one call after
another, statistics in one JSON value, lists by reading every mission; a null event stream.
"""

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import redis
from missions.models import MissionStatus
from pydantic import BaseModel, Field

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

INDEX = "spec:missions:index"
STATS = "spec:missions:stats"


class SpecCreate(BaseModel):
    id: str | None = None
    name: str
    description: str = ""
    data: dict[str, Any] = {}


class SpecMission(BaseModel):
    id: str
    name: str
    description: str
    data: dict[str, Any]
    status: MissionStatus
    created_at: float
    updated_at: float


class SpecLogEntry(BaseModel):
    level: str = "info"
    message: str
    data: dict[str, Any] = {}
    timestamp: float = Field(default_factory=time.time)


def mission_key(mission_id: str) -> str:
    return f"spec:missions:mission:{mission_id}"


def log_key(mission_id: str) -> str:
    return f"spec:missions:log:{mission_id}"


class Specification:
    """The specification's functions on this client, and handlers of them."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    def create_mission(self, payload: SpecCreate) -> SpecMission:
        mission_id = payload.id or str(uuid4())
        now = time.time()
        mission = SpecMission(
            id=mission_id,
            name=payload.name,
            description=payload.description,
            data=payload.data,
            status=MissionStatus.PENDING,
            created_at=now,
            updated_at=now,
        )
        self._redis.set(mission_key(mission_id), mission.model_dump_json())
        self._redis.sadd(INDEX, mission_id)
        self._count({mission.status: 1})
        data = {"name": mission.name, "description": mission.description}
        self.append_log_entry(mission_id, SpecLogEntry(message="Mission created", data=data))
        return mission

    def update_status(self, mission_id: str, status: MissionStatus) -> SpecMission | None:
        mission = self.get_mission(mission_id)
        if not mission:
            return None
        old_status = mission.status
        mission.status = status
        mission.updated_at = time.time()
        self._redis.set(mission_key(mission_id), mission.model_dump_json())
        self._count({old_status: -1, status: 1})
        entry = SpecLogEntry(message="Mission status changed", data={"from": old_status, "to": status})
        self.append_log_entry(mission_id, entry)
        return mission

    def append_log_entry(self, mission_id: str, entry: SpecLogEntry) -> None:
        self._redis.rpush(log_key(mission_id), entry.model_dump_json())

    def get_mission(self, mission_id: str) -> SpecMission | None:
        text = self._redis.get(mission_key(mission_id))
        return SpecMission.model_validate_json(text) if text else None

    def list_missions(self) -> list[SpecMission]:
        missions = [self.get_mission(mission_id) for mission_id in self._redis.smembers(INDEX)]
        return sorted(filter(None, missions), key=lambda mission: mission.created_at, reverse=True)

    def get_log(self, mission_id: str) -> list[SpecLogEntry]:
        return [SpecLogEntry.model_validate_json(text) for text in self._redis.lrange(log_key(mission_id), 0, -1)]

    def get_stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = json.loads(self._redis.get(STATS) or '{"total": 0, "by_status": {}}')
        return stats

    def _count(self, changes: dict[MissionStatus, int]) -> None:
        stats = self.get_stats()
        for status, by in changes.items():
            stats["by_status"][status] = stats["by_status"].get(status, 0) + by
        stats["total"] = sum(stats["by_status"].values())
        stats["last_updated"] = time.time()
        self._redis.set(STATS, json.dumps(stats))


def handlers(client: redis.Redis) -> dict[str, Handler]:
    """The seven operations as handlers of API Gateway events."""
    way = Specification(client)

    def answer(status: int, body: str) -> dict[str, Any]:
        return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": body}

    def create_mission(event: dict[str, Any], _: Any) -> dict[str, Any]:
        return answer(201, way.create_mission(SpecCreate.model_validate_json(event["body"])).model_dump_json())

    def update_status(event: dict[str, Any], _: Any) -> dict[str, Any]:
        status = MissionStatus(json.loads(event["body"])["status"])
        mission = way.update_status(event["pathParameters"]["mission_id"], status)
        return answer(200, mission.model_dump_json()) if mission else answer(404, "{}")

    def append_log_entry(event: dict[str, Any], _: Any) -> dict[str, Any]:
        entry = SpecLogEntry.model_validate_json(event["body"])
        way.append_log_entry(event["pathParameters"]["mission_id"], entry)
        return answer(201, entry.model_dump_json())

    def get_mission(event: dict[str, Any], _: Any) -> dict[str, Any]:
        mission = way.get_mission(event["pathParameters"]["mission_id"])
        return answer(200, mission.model_dump_json()) if mission else answer(404, "{}")

    def list_missions(event: dict[str, Any], _: Any) -> dict[str, Any]:
        page = way.list_missions()[: int(event["queryStringParameters"]["limit"])]
        return answer(200, json.dumps({"missions": [mission.model_dump(mode="json") for mission in page]}))

    def get_log(event: dict[str, Any], _: Any) -> dict[str, Any]:
        mission_id = event["pathParameters"]["mission_id"]
        log = way.get_log(mission_id)[: int(event["queryStringParameters"]["limit"])]
        return answer(200, json.dumps({"mission_id": mission_id, "log": [entry.model_dump() for entry in log]}))

    def get_stats(event: dict[str, Any], _: Any) -> dict[str, Any]:
        return answer(200, json.dumps({"stats": way.get_stats()}))

    return {each.__name__: each for each in (
        create_mission, update_status, append_log_entry, get_mission, list_missions, get_log, get_stats
    )}  # fmt: skip
