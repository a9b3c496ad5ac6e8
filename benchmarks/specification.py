"""The specification's own way, written anew ("Implementation in service.py"): synchronous redis-py, one call after
another, statistics in one JSON value, lists by reading every mission; a null event stream.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import redis
from missions.domain.models import MissionStatus
from pydantic import BaseModel, Field

from benchmarks.recording import ID, commands, pipelined
from benchmarks.world import ENTRY, Handler, content, handlers_of

INDEX, STATS, MISSION, LOG = (f"spec:missions:{each}" for each in ("index", "stats", "mission:", "log:"))


class SpecMission(BaseModel):
    id: str
    name: str
    description: str = ""
    data: dict[str, Any] = {}
    status: MissionStatus = MissionStatus.PENDING
    created_at: float = Field(default_factory=time.time)
    updated_at: float = Field(default_factory=time.time)


class SpecLogEntry(BaseModel):
    level: str = "info"
    message: str
    data: dict[str, Any] = {}
    timestamp: float = Field(default_factory=time.time)


class Specification:
    """The specification's functions on this client."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    def create_mission(self, mission: SpecMission) -> SpecMission:
        self._redis.set(MISSION + mission.id, mission.model_dump_json())
        self._redis.sadd(INDEX, mission.id)
        self._count({mission.status: 1})
        data = {"name": mission.name, "description": mission.description}
        self.append_log_entry(mission.id, SpecLogEntry(message="Mission created", data=data))
        return mission

    def update_status(self, mission_id: str, status: MissionStatus) -> SpecMission:
        mission = self.get_mission(mission_id)
        old_status, mission.status, mission.updated_at = mission.status, status, time.time()
        self._redis.set(MISSION + mission_id, mission.model_dump_json())
        self._count({old_status: -1, status: 1})
        entry = SpecLogEntry(message="Mission status changed", data={"from": old_status, "to": status})
        self.append_log_entry(mission_id, entry)
        return mission

    def append_log_entry(self, mission_id: str, entry: SpecLogEntry) -> None:
        self._redis.rpush(LOG + mission_id, entry.model_dump_json())

    def get_mission(self, mission_id: str) -> SpecMission:
        return SpecMission.model_validate_json(self._redis.get(MISSION + mission_id))

    def list_missions(self) -> list[SpecMission]:
        missions = [self.get_mission(mission_id) for mission_id in self._redis.smembers(INDEX)]
        return sorted(missions, key=lambda mission: mission.created_at, reverse=True)

    def _count(self, changes: dict[MissionStatus, int]) -> None:
        stats = json.loads(self._redis.get(STATS) or '{"by_status": {}}')
        for status, by in changes.items():
            stats["by_status"][status] = stats["by_status"].get(status, 0) + by
        stats |= {"total": sum(stats["by_status"].values()), "last_updated": time.time()}
        self._redis.set(STATS, json.dumps(stats))


def lives(client: redis.Redis, ids: Sequence[str], size: int = 135, *, finished: bool = True) -> None:
    """What missions leave that were created and, when `finished`, started, logged to three times and completed."""
    way = Specification(client)

    def one() -> None:
        way.create_mission(SpecMission(id=ID, **content(size)))
        if finished:
            way.update_status(ID, MissionStatus.RUNNING)
            for _ in range(3):
                way.append_log_entry(ID, SpecLogEntry.model_validate(ENTRY))
            way.update_status(ID, MissionStatus.COMPLETED)

    calls = commands(client, one, only_writing=True)
    client.flushall() if finished else client.delete(MISSION + ID, INDEX, LOG + ID)
    pipelined(client, [call.filled({"id": each}) for each in ids for call in calls])


def handlers(client: redis.Redis) -> dict[str, Handler]:
    """Operations as handlers of API Gateway events."""
    way = Specification(client)

    def create_mission(event: dict[str, Any]) -> str:
        return way.create_mission(SpecMission.model_validate_json(event["body"])).model_dump_json()

    def update_status(event: dict[str, Any]) -> str:
        status = MissionStatus(json.loads(event["body"])["status"])
        return way.update_status(event["pathParameters"]["mission_id"], status).model_dump_json()

    def get_mission(event: dict[str, Any]) -> str:
        return way.get_mission(event["pathParameters"]["mission_id"]).model_dump_json()

    def list_missions(event: dict[str, Any]) -> str:
        page = way.list_missions()[: int(event["queryStringParameters"]["limit"])]
        return json.dumps({"missions": [mission.model_dump(mode="json") for mission in page]})

    return handlers_of(create_mission, update_status, get_mission, list_missions)
