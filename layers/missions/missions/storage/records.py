"""What the store keeps of a mission and of a log entry: a line of named facts, then what is JSON (see write.lua)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from missions.domain.errors import BrokenRecord, MissionRemoved
from missions.domain.events import BROKEN, Draft
from missions.domain.fields import compact_json
from missions.domain.models import LogEntry, LogLevel, Mission, MissionCreate, MissionStatus, SignOfLife
from missions.domain.writes import NewEntry

_SPACE = "\x1f"  # in a text that is a fact; no text of one line has it, and it comes before all that it has
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


def tags(known: Mapping[str, str]) -> list[str]:
    """The tags among the facts of a mission or of its events."""
    return known["tags"].split(",") if "tags" in known else []


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
    return compact_json({name: value for name, value in vars(payload).items() if value and name != "id"})


def given_facts(payload: MissionCreate) -> str:
    """What scripts read of what the caller sent, as facts. The name is the last one, since it may be long."""
    parts = [f"{fact}={value}" for member, fact in _SCRIPTED.items() if (value := getattr(payload, member))]
    if payload.tags:
        parts.append(f"tags={','.join(payload.tags)}")
    for member in ("deadline", "not_before"):
        if (value := getattr(payload, member)) is not None:
            parts.append(f"{member}={moment(value)}")
    return " ".join([*parts, f"named={name_fact(payload.name)}"])


def _text(fact: str) -> str:
    return fact.replace(_SPACE, " ")


_OPEN = (MissionStatus.PENDING, MissionStatus.RUNNING)
_SHOWN: dict[str, tuple[str, Callable[[str], Any]]] = {  # by their facts: members of a mission, and how they are read
    "status": ("status", str), "version": ("version", int), "created": ("created_at", seconds),
    "updated": ("updated_at", seconds), "active": ("active_at", seconds), "started": ("started_at", seconds),
    "finished": ("finished_at", seconds), "deadline": ("deadline", seconds), "not_before": ("not_before", seconds),
    "lease": ("heartbeat_timeout", int), "progress": ("progress", float), "note": ("note", _text),
    "worker": ("worker", _text), "attempt": ("attempt", int), "retry_of": ("retry_of", str),
    "next": ("next_attempt", str),
}  # fmt: skip


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
    # What the caller sent comes first: deadline and not_before of a next attempt differ from it, and so does a lease.
    members = from_json(text) | {"id": mission_id, "deadline": None, "not_before": None}
    for name, value in known.items():
        if shown := _SHOWN.get(name):
            member, read = shown
            members[member] = read(value)
    if reason:
        members["reason"] = from_json(reason)
    if "finished" not in known and members["status"] not in _OPEN:
        members["finished_at"] = members["updated_at"]  # it is a fact only of a mission that was cancelled later
    started, finished = members.get("started_at"), members.get("finished_at")
    if started and finished:
        members["duration"] = round(finished - started, 6)
    return Mission.model_validate(members)


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
        worker=_text(known["worker"]) if "worker" in known else None,
        active_at=active,
        next_before=active + int(silence) if silence and running else None,
    )


def log_text(entry: NewEntry) -> str:
    """The record of a log entry, without the facts that only the store knows; they go in front."""
    body = {"message": entry.message, "data": entry.data} if entry.data else {"message": entry.message}
    return f"level={entry.level}\n{to_json(body).decode()}"


def drafts_text(drafts: Sequence[Draft]) -> str:
    """The drafts of a write's events, as its outbox entry has them; empty when nobody publishes them."""
    return to_json(drafts).decode() if drafts else ""


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
