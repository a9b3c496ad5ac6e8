"""The floor: handlers of a few lines that do the same JSON in and out and one round trip, and nothing else.

They run the very scripts of the service, with arguments made by hand; they validate nothing and know no errors.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import redis
from missions.models import MissionStatus
from missions.store import Keys, _script

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

KEYS = Keys("default")
PENDING = KEYS.index(MissionStatus.PENDING)
SCRIPTS = {name: _script(name)[1] for name in ("create", "status", "log", "list", "get_log", "stats")}
INDEXES = [KEYS.index(status) for status in MissionStatus]
RUNNING = [KEYS.stats, KEYS.durations, KEYS.index(MissionStatus.RUNNING), KEYS.index(MissionStatus.PENDING)]
FINGERPRINT = "0" * 32


def _facts(kind: str, payload: str, meta: str = "") -> str:
    return f'"id":"{uuid4()}","meta":{{{meta}}},"payload":{{{payload}}},"type":"{kind}"}}'


def create_call(mission: dict[str, Any], token: str, publish: int = 1, life: int = 60) -> list[str | int]:
    """The EVALSHA that creates a mission."""
    mission_id, name, description = mission["id"], json.dumps(mission["name"]), json.dumps(mission["description"])
    data = json.dumps(mission["data"], separators=(",", ":"))
    logged = f'"log_level":"info","message":"Mission created","mission_id":"{mission_id}"'
    made = f'"description":{description},"mission_id":"{mission_id}","name":{name},"status":"PENDING"'
    return [
        SCRIPTS["create"], 6,
        KEYS.mission(mission_id), KEYS.log(mission_id), KEYS.outbox, KEYS.token(token),
        KEYS.stats, KEYS.index(MissionStatus.PENDING),
        FINGERPRINT, life, publish, mission_id, f'{{"data":{data},"description":{description},"name":{name}}}',
        f'"level":"info","message":"Mission created","data":{{"name":{name},"description":{description}}}}}',
        _facts("mission.log_appended", logged), _facts("mission.created", made),
    ]  # fmt: skip


def status_call(mission_id: str, status: str, token: str, publish: int = 1, life: int = 60) -> list[str | int]:
    """The EVALSHA that starts a mission, or completes it."""
    before, keys = ("PENDING", RUNNING) if status == "RUNNING" else ("RUNNING", _COMPLETED)
    logged = f'"log_level":"info","message":"Mission status changed","mission_id":"{mission_id}"'
    return [
        SCRIPTS["status"], 4 + len(keys),
        KEYS.mission(mission_id), KEYS.log(mission_id), KEYS.outbox, KEYS.token(token), *keys,
        FINGERPRINT, life, publish, mission_id, status, "", "",
        '"level":"info","message":"Mission status changed","data":{', _facts("mission.log_appended", logged),
        _facts("mission.status_changed", f'"mission_id":"{mission_id}","new_status":"{status}"'), before,
    ]  # fmt: skip


_COMPLETED = [KEYS.stats, KEYS.durations, KEYS.index(MissionStatus.COMPLETED), KEYS.index(MissionStatus.RUNNING)]


def log_call(mission_id: str, entry: dict[str, Any], token: str, publish: int = 1, life: int = 60) -> list[str | int]:
    """The EVALSHA that appends a log entry."""
    message, data = json.dumps(entry["message"]), json.dumps(entry["data"], separators=(",", ":"))
    logged = f'"log_level":"info","message":{message},"mission_id":"{mission_id}"'
    return [
        SCRIPTS["log"], 4, KEYS.mission(mission_id), KEYS.log(mission_id), KEYS.outbox, KEYS.token(token),
        FINGERPRINT, life, publish, f'"level":"{entry["level"]}","message":{message},"data":{data}}}',
        _facts("mission.log_appended", logged),
    ]  # fmt: skip


def _mission(mission_id: str, record: str) -> dict[str, Any]:
    state, reason, content = record.split("\n", 2)
    status, version, created, updated, _ = state.split(" ")
    return {
        "id": mission_id,
        **json.loads(content),
        "status": status,
        "reason": json.loads(reason) if reason else None,
        "version": int(version),
        "created_at": int(created) / 1e6,
        "updated_at": int(updated) / 1e6,
    }


def _answer(status: int, body: Any) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}


def handlers(client: redis.Redis) -> dict[str, Handler]:
    """The seven operations on this client."""
    run: Callable[..., Any] = client.evalsha

    def create_mission(event: dict[str, Any], _: Any) -> dict[str, Any]:
        body = json.loads(event["body"])
        reply = run(*create_call(body, "request:" + event["requestContext"]["requestId"]))
        content = json.dumps({name: body[name] for name in ("name", "description", "data")})
        return _answer(201, _mission(reply[3], f"{reply[4]}\n{content}"))

    def update_status(event: dict[str, Any], _: Any) -> dict[str, Any]:
        mission_id, body = event["pathParameters"]["mission_id"], json.loads(event["body"])
        reply = run(*status_call(mission_id, body["status"], "request:" + event["requestContext"]["requestId"]))
        return _answer(200, _mission(mission_id, f"{reply[3]}\n{reply[4]}"))

    def append_log_entry(event: dict[str, Any], _: Any) -> dict[str, Any]:
        mission_id, body = event["pathParameters"]["mission_id"], json.loads(event["body"])
        reply = run(*log_call(mission_id, body, "request:" + event["requestContext"]["requestId"]))
        return _answer(201, json.loads(reply[3]))

    def get_mission(event: dict[str, Any], _: Any) -> dict[str, Any]:
        mission_id = event["pathParameters"]["mission_id"]
        record: Any = client.get(KEYS.mission(mission_id))
        return _answer(200, _mission(mission_id, record))

    def list_missions(event: dict[str, Any], _: Any) -> dict[str, Any]:
        limit = int(event["queryStringParameters"]["limit"])
        reply = run(SCRIPTS["list"], len(INDEXES), *INDEXES, KEYS.mission(""), limit, "newest", "", ":")
        missions = [_mission(*pair) for pair in zip(reply[1::2], reply[2::2], strict=True)]
        return _answer(200, {"missions": missions, "next_cursor": reply[0]})

    def get_log(event: dict[str, Any], _: Any) -> dict[str, Any]:
        mission_id = event["pathParameters"]["mission_id"]
        limit = int(event["queryStringParameters"]["limit"])
        reply = run(SCRIPTS["get_log"], 2, KEYS.mission(mission_id), KEYS.log(mission_id), 0, limit, "oldest")
        log = [json.loads(text) for text in reply[2:]]
        return _answer(200, {"mission_id": mission_id, "log": log, "next_cursor": reply[0] > reply[1] or None})

    def get_stats(event: dict[str, Any], _: Any) -> dict[str, Any]:
        pairs, _ = run(SCRIPTS["stats"], 2, KEYS.stats, KEYS.durations)
        counts = dict(zip(pairs[::2], pairs[1::2], strict=True))
        updated = counts.pop("last_updated")
        by_status = {status: int(counts.get(status, 0)) for status in MissionStatus}
        stats = {"total": sum(by_status.values()), "by_status": by_status, "last_updated": int(updated) / 1e6}
        return _answer(200, {"stats": stats})

    return {each.__name__: each for each in (
        create_mission, update_status, append_log_entry, get_mission, list_missions, get_log, get_stats
    )}  # fmt: skip
