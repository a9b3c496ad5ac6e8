"""What the store keeps of a mission and of a log entry: a line of named facts, then what is JSON (see write.lua)."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from missions.domain.errors import BrokenRecord, MissionRemoved
from missions.domain.events import BROKEN
from missions.domain.fields import compact_json
from missions.domain.models import LogEntry, LogLevel, Mission, MissionCreate, MissionStatus, SignOfLife
from missions.domain.writes import NewEntry

_SPACE = "\x1f"  # in a text that is a fact; no text of one line has it, and it comes before all that it has
_CONTENT = (
    "name", "description", "data", "tags", "timeout", "heartbeat_timeout", "deadline", "not_before", "retries",
    "backoff", "retention",
)  # fmt: skip
_SCRIPTED = {  # members that scripts read, and the facts that they are
    "timeout": "timeout", "heartbeat_timeout": "heartbeat", "retries": "retries", "backoff": "backoff",
    "retention": "retention",
}  # fmt: skip


class BrokenLogEntry(Exception):
    """A record of a log entry cannot be read."""


def seconds(moment: str) -> float:
    """Unix seconds of a stored moment."""
    return int(moment) / 1_000_000


def moment(seconds: float, later: int = 0) -> str:
    """The stored moment of Unix seconds, or `later` microseconds after it."""
    return f"{round(seconds * 1_000_000) + later:016d}"


def facts(line: str) -> dict[str, str]:
    """The named facts of a line. Raises ValueError."""
    return dict([fact.split("=", 1) for fact in line.split(" ")])


def name_fact(name: str) -> str:
    """A name as it is found by: in small letters."""
    return text_fact(name.casefold())


def text_fact(text: str) -> str:
    """A text of one line as a fact, which has no space in it; the order of texts stays."""
    return text.replace(" ", _SPACE)


def content(payload: MissionCreate) -> str:
    """What the caller sent, as it is stored: equal for equal missions, and without what has its default value.

    So an optional field that a later version adds does not turn the repeat of an earlier create into a conflict.
    """
    return compact_json({name: value for name in _CONTENT if (value := getattr(payload, name))})


def given_facts(payload: MissionCreate) -> str:
    """What scripts read of what the caller sent, as facts. The name is the last one, since it may be long."""
    facts = [f"{fact}={value}" for member, fact in _SCRIPTED.items() if (value := getattr(payload, member))]
    if payload.tags:
        facts.append(f"tags={','.join(payload.tags)}")
    for member in ("deadline", "not_before"):
        if (value := getattr(payload, member)) is not None:
            facts.append(f"{member}={moment(value)}")
    return " ".join([*facts, f"named={name_fact(payload.name)}"])


def mission(mission_id: str, record: str) -> Mission:
    """A mission from its record. Raises MissionRemoved, BrokenRecord."""
    try:
        line, reason, text = record.split("\n", 2)
        known = facts(line)
        if "removed" not in known:
            return mission_of(mission_id, known, reason, text)
        removed_at = seconds(known["removed"])
    except BROKEN as error:
        raise BrokenRecord(mission_id) from error
    raise MissionRemoved(mission_id, removed_at)


def mission_of(mission_id: str, known: Mapping[str, str], reason: str, text: str) -> Mission:
    """A mission from the parts of its record: facts, reason and content. Raises one of BROKEN."""
    members = from_json(text)
    for name in ("deadline", "not_before"):  # those of a next attempt differ from what the caller sent
        members[name] = _moment(known, name)
    silence = known.get("lease")
    if silence:
        members["heartbeat_timeout"] = int(silence)
    started, finished = _moment(known, "started"), _moment(known, "finished")
    if finished is None and known["status"] not in (MissionStatus.PENDING, MissionStatus.RUNNING):
        finished = seconds(known["updated"])  # it is a fact only of a mission that was cancelled later
    return Mission(
        id=mission_id,
        **members,
        status=MissionStatus(known["status"]),
        reason=from_json(reason) if reason else None,
        version=int(known["version"]),
        created_at=seconds(known["created"]),
        updated_at=seconds(known["updated"]),
        active_at=seconds(known["active"]),
        started_at=started,
        finished_at=finished,
        duration=round(finished - started, 6) if started and finished else None,
        progress=float(known["progress"]) if "progress" in known else None,
        note=_text(known, "note"),
        worker=_text(known, "worker"),
        attempt=int(known.get("attempt", 1)),
        retry_of=known.get("retry_of"),
        next_attempt=known.get("next"),
    )


def sign_of_life(mission_id: str, line: str, reason: str) -> SignOfLife:
    """What a worker learns from the facts of its mission. Raises one of BROKEN."""
    known = facts(line)
    silence = known.get("lease") or known.get("heartbeat")
    active, running = seconds(known["active"]), known["status"] == MissionStatus.RUNNING
    return SignOfLife(
        id=mission_id,
        status=MissionStatus(known["status"]),
        reason=from_json(reason) if reason else None,
        version=int(known["version"]),
        worker=_text(known, "worker"),
        active_at=active,
        next_before=active + int(silence) if silence and running else None,
    )


def _moment(known: Mapping[str, str], name: str) -> float | None:
    return seconds(known[name]) if name in known else None


def _text(known: Mapping[str, str], name: str) -> str | None:
    return known[name].replace(_SPACE, " ") if name in known else None


def log_text(entry: NewEntry) -> str:
    """The record of a log entry, but for the facts that only the store knows, which go in front."""
    body = {"message": entry.message, "data": entry.data} if entry.data else {"message": entry.message}
    return f"level={entry.level}\n{to_json(body).decode()}"


def log_entry(record: str) -> LogEntry:
    """A log entry from its record. Raises BrokenLogEntry."""
    try:
        line, text = record.split("\n", 1)
        known = facts(line)
        body = from_json(text)
        told: dict[str, Any] = {name: known[name] for name in ("from", "to", "retry_of") if name in known}
        if "attempt" in known:
            told["attempt"] = int(known["attempt"])
        return LogEntry(
            timestamp=seconds(known["moment"]),
            level=LogLevel(known["level"]),
            message=body["message"],
            data=body.get("data", {}) | told,
        )
    except BROKEN as error:
        raise BrokenLogEntry from error
