"""A FastAPI service that does what the specification says, in its own way: async methods, one call to Redis after
another, statistics in one JSON value, lists by reading every mission; no event stream. `benchmarks.local_stack` runs it
with one uvicorn worker.
"""

import json
import os
import time
from typing import Any
from uuid import uuid4

import redis.asyncio
from fastapi import APIRouter, FastAPI, HTTPException
from missions.domain.models import MissionStatus
from pydantic import BaseModel

from benchmarks.specification import INDEX, LOG, MISSION, STATS, SpecLogEntry, SpecMission

client: Any = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
router = APIRouter(prefix="/api/missions")


class MissionCreate(BaseModel):
    id: str | None = None
    name: str
    description: str = ""
    data: dict[str, Any] = {}


class StatusUpdate(BaseModel):
    status: MissionStatus


class Page(BaseModel):
    missions: list[SpecMission]


@router.get("/health")
async def health() -> dict[str, str]:
    await client.ping()
    return {"status": "ok"}


@router.post("", status_code=201)
async def create_mission(sent: MissionCreate) -> SpecMission:
    mission_id = sent.id or str(uuid4())
    mission = SpecMission(id=mission_id, name=sent.name, description=sent.description, data=sent.data)
    await client.set(MISSION + mission.id, mission.model_dump_json())
    await client.sadd(INDEX, mission.id)
    await count({mission.status: 1})
    data = {"name": mission.name, "description": mission.description}
    await append(mission.id, SpecLogEntry(message="Mission created", data=data))
    return mission


@router.post("/{mission_id}/status")
async def update_status(mission_id: str, update: StatusUpdate) -> SpecMission:
    mission = await get_mission(mission_id)
    old_status, mission.status, mission.updated_at = mission.status, update.status, time.time()
    await client.set(MISSION + mission_id, mission.model_dump_json())
    await count({old_status: -1, mission.status: 1})
    data = {"from": old_status, "to": mission.status}
    await append(mission_id, SpecLogEntry(message="Mission status changed", data=data))
    return mission


@router.post("/{mission_id}/log", status_code=201)
async def append_log_entry(mission_id: str, entry: SpecLogEntry) -> SpecLogEntry:
    await append(mission_id, entry)
    return entry


@router.get("/{mission_id}")
async def get_mission(mission_id: str) -> SpecMission:
    stored = await client.get(MISSION + mission_id)
    if stored is None:
        raise HTTPException(404)
    return SpecMission.model_validate_json(stored)


@router.get("")
async def list_missions(limit: int = 50) -> Page:
    missions = [await get_mission(mission_id) for mission_id in await client.smembers(INDEX)]
    return Page(missions=sorted(missions, key=lambda mission: mission.created_at, reverse=True)[:limit])


async def append(mission_id: str, entry: SpecLogEntry) -> None:
    await client.rpush(LOG + mission_id, entry.model_dump_json())


async def count(changes: dict[MissionStatus, int]) -> None:
    stats = json.loads(await client.get(STATS) or '{"by_status": {}}')
    for status, by in changes.items():
        stats["by_status"][status] = stats["by_status"].get(status, 0) + by
    stats |= {"total": sum(stats["by_status"].values()), "last_updated": time.time()}
    await client.set(STATS, json.dumps(stats))


app = FastAPI()
app.include_router(router)
