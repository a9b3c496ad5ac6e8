"""What the store keeps of a mission and of a log entry: a line of named facts, then what is JSON (see write.lua)."""

from collections.abc import Mapping

from pydantic_core import from_json, to_json

from missions.domain.errors import BrokenRecord
from missions.domain.events import BROKEN
from missions.domain.fields import compact_json
from missions.domain.models import LogEntry, LogLevel, Mission, MissionCreate, MissionStatus
from missions.domain.writes import NewEntry


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


def content(payload: MissionCreate) -> str:
    """What the caller sent, as it is stored: equal for equal missions, and without what has its default value.

    So an optional field that a later version adds does not turn the repeat of an earlier create into a conflict.
    """
    given = {"name": payload.name, "description": payload.description, "data": payload.data}
    return compact_json({name: value for name, value in given.items() if value})


def mission(mission_id: str, record: str) -> Mission:
    """A mission from its record. Raises BrokenRecord."""
    try:
        line, reason, text = record.split("\n", 2)
        return mission_of(mission_id, facts(line), reason, text)
    except BROKEN as error:
        raise BrokenRecord(mission_id) from error


def mission_of(mission_id: str, known: Mapping[str, str], reason: str, text: str) -> Mission:
    """A mission from the parts of its record: facts, reason and content. Raises one of BROKEN."""
    return Mission(
        id=mission_id,
        **from_json(text),
        status=MissionStatus(known["status"]),
        reason=from_json(reason) if reason else None,
        version=int(known["version"]),
        created_at=seconds(known["created"]),
        updated_at=seconds(known["updated"]),
    )


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
        transition = {name: known[name] for name in ("from", "to") if name in known}
        return LogEntry(
            timestamp=seconds(known["moment"]),
            level=LogLevel(known["level"]),
            message=body["message"],
            data=body.get("data", {}) | transition,
        )
    except BROKEN as error:
        raise BrokenLogEntry from error
