"""What the scripts of a mission reply: results, outbox entries, and errors."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic_core import from_json

from missions.domain.errors import (
    BrokenRecord,
    KeyReused,
    MissionNotFound,
    MissionRemoved,
    StaleVersion,
    TransitionRefused,
)
from missions.domain.events import BROKEN, Draft, OutboxEntry
from missions.domain.models import LogEntry, Mission, MissionStatus
from missions.domain.writes import NextAttempt, OneChange, Result, Write
from missions.log import logger
from missions.storage import records

T = TypeVar("T")
Written = tuple[Result[T], list[OutboxEntry]]


def changed(reply: Sequence[Any], one: OneChange) -> Written[Mission]:
    """What a change replied. Raises what `change_status` does."""
    match reply:
        case ["stale", version]:
            raise StaleVersion(int(version))
        case ["refused", current, reason] if current in set(MissionStatus):
            raise TransitionRefused(MissionStatus(current), one.change.status, _reason(reason))
        case ["refused", _, _]:
            raise BrokenRecord(one.mission_id)
    refuse(reply, one.mission_id)
    outcome, replayed, state, content, entry_id, old, next_entry_id = reply
    known, mission = mission_in(one.mission_id, state, content)
    made = entries(entry_id, one.write, one.mission_id, known, one.change.drafts, old)
    if one.successor:
        made += next_entries(next_entry_id, one.write, one.successor, known, content)
    return Result(mission, outcome, bool(replayed)), made


def refuse(reply: Sequence[Any], mission_id: str) -> None:
    """Raise what every script may answer in place of what was asked; nothing for another reply."""
    match reply:
        case ["reused"]:
            raise KeyReused
        case ["missing"]:
            raise MissionNotFound(mission_id)
        case ["removed", moment]:
            raise MissionRemoved(mission_id, records.seconds(moment))
        case ["broken"]:
            raise BrokenRecord(mission_id)


def _reason(text: str) -> str | None:
    try:
        return str(from_json(text)) if text else None
    except ValueError:
        return None


def mission_in(mission_id: str, state: str, content: str) -> tuple[Mapping[str, str], Mission]:
    """Facts and mission from what a script replies."""
    try:
        line, reason = state.split("\n", 1)
        known = records.facts(line)
        return known, records.mission_of(mission_id, known, reason, content)
    except BROKEN as error:
        raise BrokenRecord(mission_id) from error


def entries(
    entry_id: str,
    write: Write,
    mission_id: str,
    known: Mapping[str, str],
    drafts: Sequence[Draft],
    old_status: str = "",
) -> list[OutboxEntry]:
    """The outbox entry of a write after which these facts are known, if it made one."""
    if not entry_id:
        return []
    first, tags = int(known["sequence"]) - len(drafts) + 1, records.tags(known)
    text = records.drafts_text(drafts)
    return [
        OutboxEntry(entry_id, write.namespace, mission_id, int(known["active"]), first, old_status, text, tags=tags)
    ]


def next_entries(
    entry_id: str, write: Write, successor: NextAttempt, known: Mapping[str, str], content: str
) -> list[OutboxEntry]:
    """The outbox entry of a next attempt, if one was made; it was made when a mission, or it, was last active."""
    if not entry_id:
        return []
    text = records.drafts_text(successor.drafts)
    return [
        OutboxEntry(
            entry_id, write.namespace, successor.id, int(known["active"]), 1, "", text,
            tags=records.tags(known), content=content,
        )
    ]  # fmt: skip


def logged(record: str) -> LogEntry | None:
    """A log entry; None, with an error in our own log, for one that cannot be read."""
    try:
        return records.log_entry(record)
    except records.BrokenLogEntry:
        logger.exception("An entry is left out of a log")
        return None
