"""The floor: handlers of a few lines that do the same JSON in and out and the same calls to Redis, and nothing else.

They replay what the service was recorded to send; they validate nothing, know no errors and log nothing.
"""

import json
from typing import Any

import redis
from missions.domain.fields import compact_json
from missions.domain.models import MissionCreate

from benchmarks.recording import new, record
from benchmarks.world import ENTRY, Handler, content, handlers_of

DEFAULTS = MissionCreate(name="any").model_dump(exclude={"id", "name"})


def handlers(client: redis.Redis) -> dict[str, Handler]:
    """Operations on this client."""
    calls = record()
    run: Any = client.execute_command
    index, missions = calls["list"]
    create, start, log, beat, get, entries, stats = (
        calls[name][0] for name in ("create", "start", "log", "heartbeat", "get", "get_log", "stats")
    )
    create, log = create.opened(texts(content())), log.opened(texts(ENTRY))
    (_, read, *_), (_, prefix) = missions.filled({"id": ""}), get.filled({"id": ""})

    def create_mission(event: dict[str, Any]) -> str:
        body = json.loads(event["body"])
        mission_id = body.pop("id")
        reply = run(*create.filled(new(mission_id, **texts(body))))
        return json.dumps(_mission(mission_id, reply[3], body))

    def update_status(event: dict[str, Any]) -> str:
        json.loads(event["body"])  # what was recorded starts the mission, too
        mission_id = event["pathParameters"]["mission_id"]
        reply = run(*start.filled(new(mission_id)))
        return json.dumps(_mission(mission_id, reply[2], json.loads(reply[3])))

    def append_log_entry(event: dict[str, Any]) -> str:
        entry = json.loads(event["body"])
        reply = run(*log.filled(new(event["pathParameters"]["mission_id"], **texts(entry))))
        return json.dumps({"timestamp": int(reply[2]) / 1e6, **entry})

    def heartbeat(event: dict[str, Any]) -> str:
        json.loads(event["body"])  # what was recorded says the same
        mission_id = event["pathParameters"]["mission_id"]
        line, reason = run(*beat.filled({"id": mission_id}))
        facts = _facts(line)
        return json.dumps({
            "id": mission_id, "status": facts["status"], "reason": json.loads(reason) if reason else None,
            "version": int(facts["version"]), "active_at": _moment(facts, "active"), "next_before": None,
        })  # fmt: skip

    def get_mission(event: dict[str, Any]) -> str:
        mission_id = event["pathParameters"]["mission_id"]
        return json.dumps(_stored(mission_id, run(*get.filled({"id": mission_id}))))

    def list_missions(event: dict[str, Any]) -> str:
        _, _, *members = run(*index.filled({}))
        members = members[: int(event["queryStringParameters"]["limit"])]
        ids = [each[16:] for each in members]
        records = run("EVALSHA", read, len(ids), *(prefix + each for each in ids))
        return json.dumps({"missions": list(map(_stored, ids, records)), "next_cursor": members[-1]})

    def get_log(event: dict[str, Any]) -> str:
        mission_id = event["pathParameters"]["mission_id"]
        logged, _, follow, *found = run(*entries.filled({"id": mission_id}))
        page = list(map(_entry, found))
        return json.dumps({"mission_id": mission_id, "log": page, "next_cursor": follow < logged or None})

    def get_stats(event: dict[str, Any]) -> str:
        asked = stats.filled({})
        values, _ = run(*asked)
        counts = {name: int(value or 0) for name, value in zip(asked[5:], values, strict=True)}
        updated, _ = counts.pop("last_updated") / 1e6, counts.pop("changed")
        ever = {name: counts.pop(name) for name in list(counts) if name.startswith("ever ")}
        numbers = {"total": sum(counts.values()), "by_status": counts, "all_time": ever, "last_updated": updated}
        return json.dumps({"stats": numbers})

    return handlers_of(
        create_mission, update_status, append_log_entry, heartbeat, get_mission, list_missions, get_log, get_stats
    )


def texts(body: dict[str, Any]) -> dict[str, str]:
    """What a caller sent, as it is sent to Redis."""
    return {name: compact_json(value) for name, value in body.items()}


def _facts(line: str) -> dict[str, str]:
    return dict(fact.split("=", 1) for fact in line.split(" "))


def _moment(facts: dict[str, str], name: str) -> float | None:
    return int(facts[name]) / 1e6 if name in facts else None


def _mission(mission_id: str, state: str, content: dict[str, Any]) -> dict[str, Any]:
    line, reason = state.split("\n")
    facts = _facts(line)
    started, finished = _moment(facts, "started"), _moment(facts, "finished")
    note = facts.get("note")
    return {
        "id": mission_id, **DEFAULTS, **content, "status": facts["status"],
        "reason": json.loads(reason) if reason else None, "version": int(facts["version"]),
        "created_at": _moment(facts, "created"), "updated_at": _moment(facts, "updated"),
        "active_at": _moment(facts, "active"), "started_at": started, "finished_at": finished,
        "duration": finished - started if started and finished else None,
        "progress": float(facts["progress"]) if "progress" in facts else None,
        "note": note and note.replace("\x1f", " "), "worker": facts.get("worker"),
        "attempt": int(facts.get("attempt", 1)), "retry_of": facts.get("retry_of"), "next_attempt": facts.get("next"),
    }  # fmt: skip


def _stored(mission_id: str, record: str) -> dict[str, Any]:
    state, content = record.rsplit("\n", 1)
    return _mission(mission_id, state, json.loads(content))


def _entry(record: str) -> dict[str, Any]:
    line, text = record.split("\n")
    facts = _facts(line)
    return {"timestamp": int(facts["moment"]) / 1e6, "level": facts["level"], **json.loads(text)}
