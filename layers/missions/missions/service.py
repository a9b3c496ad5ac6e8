"""The operations of the specification: each is one round trip to the store, and then its events are published.

Every function raises a MissionsError when it refuses; StoreUnavailable when Redis does not answer.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from missions import charter, emitter, lifecycle
from missions.errors import (
    InvalidRequest,
    KeyReused,
    MissionExists,
    MissionNotFound,
    StaleVersion,
    StoreUnavailable,
    TransitionRefused,
)
from missions.models import (
    LogEntry,
    LogLevel,
    LogPage,
    Mission,
    MissionCreate,
    MissionLogEntry,
    MissionPage,
    MissionStatus,
    Stats,
    compact_json,
)
from missions.store import Keys, store


@dataclass
class Write:
    """Who writes, and the token that makes it happen once: a second run gives the first one's answer."""

    namespace: str = "default"
    token: str = field(default_factory=lambda: f"request:{uuid4()}")
    token_life: int = 60  # seconds
    if_match: int | None = None  # the version a status change asks for
    outcome: str = ""  # filled in: created, exists, changed, unchanged or appended
    replayed: bool = False  # filled in: the token was known, so nothing was changed now


def create_mission(payload: MissionCreate, write: Write | None = None) -> Mission:
    """Create a mission, PENDING. Naming an id that exists gives that mission when its content is the same.

    Events: mission.log_appended, then mission.created. Raises MissionExists, KeyReused.
    """
    write = write or Write()
    keys = Keys(write.namespace)
    named = {"name": payload.name, "description": payload.description}
    content = compact_json({**named, "data": payload.data})
    mission_id = payload.id or str(uuid4())
    entry = _entry("Mission created", named)
    created = charter.facts(
        "mission.created",
        {
            "mission_id": mission_id,
            **named,
            "status": MissionStatus.PENDING,
        },
    )
    mission_id, state = _write(
        "create",
        write,
        mission_id,
        fingerprint=[payload.id, content],
        keys=[keys.stats, keys.index(MissionStatus.PENDING)],
        args=[mission_id, content, _text(entry), _log_facts(mission_id, entry), created],
    )
    return _mission(mission_id, state, content)


def update_status(
    mission_id: str, status: MissionStatus, write: Write | None = None, *, reason: str | None = None
) -> Mission:
    """Change a mission's status; asking for the one it has changes nothing.

    Events: mission.log_appended, then mission.status_changed.
    Raises MissionNotFound, TransitionRefused, StaleVersion, KeyReused.
    """
    write = write or Write()
    keys = Keys(write.namespace)
    sources = lifecycle.sources(status)
    why = {"reason": reason} if reason else {}
    entry = _entry("Mission status changed", why)
    state, content = _write(
        "status",
        write,
        mission_id,
        fingerprint=[status, write.if_match, reason],
        keys=[keys.stats, keys.durations, *map(keys.index, [status, *sources])],
        args=[
            mission_id,
            status,
            "" if write.if_match is None else write.if_match,
            compact_json(reason) if reason else "",
            _text(entry).removesuffix("}}") + ("," if why else ""),  # the script adds from and to
            _log_facts(mission_id, entry),
            charter.facts("mission.status_changed", {"mission_id": mission_id, "new_status": status}, **why),
            *sources,
        ],
    )
    return _mission(mission_id, state, content)


def append_log_entry(mission_id: str, entry: MissionLogEntry, write: Write | None = None) -> LogEntry:
    """Append an entry to a mission's log, whatever its status.

    Events: mission.log_appended. Raises MissionNotFound, KeyReused.
    """
    write = write or Write()
    texts = _write(
        "log",
        write,
        mission_id,
        fingerprint=[entry.model_dump()],
        keys=[],
        args=[_text(entry), _log_facts(mission_id, entry)],
    )
    return LogEntry.model_validate_json(texts[0])


def get_mission(mission_id: str, namespace: str = "default") -> Mission:
    """The mission as it is now. Raises MissionNotFound."""
    record = store().command("GET", Keys(namespace).mission(mission_id))
    if record is None:
        raise MissionNotFound(mission_id)
    return _stored(mission_id, record)


def list_missions(
    namespace: str = "default", *, status: MissionStatus | None = None, limit: int = 50, cursor: str | None = None
) -> MissionPage:
    """One page of missions, newest first, of one status or of all. Raises InvalidRequest for a cursor it never gave."""
    keys = Keys(namespace)
    below = f"({_member(cursor)}" if cursor else "+"
    statuses = [status] if status else list(MissionStatus)
    last, *found = store().script(
        "list", [keys.index(each) for each in statuses], keys.mission(""), limit, "newest", "-", below
    )
    missions = [_stored(*pair) for pair in zip(found[::2], found[1::2], strict=True)]
    return MissionPage(missions=missions, next_cursor=_cursor(last) if last else None)


def get_log(mission_id: str, namespace: str = "default", *, limit: int = 50, cursor: str | None = None) -> LogPage:
    """One page of a mission's log, oldest first. Raises MissionNotFound, InvalidRequest for a cursor it never gave."""
    keys = Keys(namespace)
    first = _position(cursor) if cursor else 0
    page = store().script("get_log", [keys.mission(mission_id), keys.log(mission_id)], first, limit)
    if page is None:
        raise MissionNotFound(mission_id)
    length, *texts = page
    follow = first + len(texts)
    return LogPage(
        mission_id=mission_id,
        log=[LogEntry.model_validate_json(text) for text in texts],
        next_cursor=_cursor(str(follow)) if follow < length else None,
    )


def get_stats(namespace: str = "default") -> Stats:
    """The counts of all missions, kept at write time: a recount always equals them."""
    counts = store().command("HGETALL", Keys(namespace).stats)
    updated = counts.pop("last_updated", None)
    by_status = {status: int(counts.get(status, 0)) for status in MissionStatus}
    return Stats(
        total=sum(by_status.values()), by_status=by_status, last_updated=_seconds(updated) if updated else None
    )


def check_health(namespace: str = "default") -> None:
    """Ask the namespace's own slot. Raises StoreUnavailable."""
    store().command("EXISTS", Keys(namespace).stats)


def _write(
    script: str, write: Write, mission_id: str, *, fingerprint: list[Any], keys: list[str], args: list[str | int]
) -> list[str]:
    """Run a writing script, publish what it put in the outbox, and give the rest of its reply."""
    names = Keys(write.namespace)
    publishing = emitter.has_event_stream()
    if publishing:
        store().register(write.namespace)
    print_ = compact_json([script, mission_id if script != "create" else None, *fingerprint])
    reply = store().script(
        script,
        [names.mission(mission_id), names.log(mission_id), names.outbox, names.token(write.token), *keys],
        hashlib.blake2b(print_.encode(), digest_size=16).hexdigest(),
        write.token_life,
        int(publishing),
        *args,
    )
    match reply:
        case ["reused"]:
            raise KeyReused
        case ["missing"]:
            raise MissionNotFound(mission_id)
        case ["conflict"]:
            raise MissionExists(mission_id)
        case ["stale", version]:
            raise StaleVersion(int(version))
        case ["refused", current, wanted]:
            raise TransitionRefused(MissionStatus(current), MissionStatus(wanted))
    write.outcome, replayed, entries, *rest = reply
    write.replayed = bool(replayed)
    if entries:
        _publish(names, entries)
    return list(rest)


def _publish(keys: Keys, entries: list[tuple[str, str]]) -> None:
    """Publish outbox entries and delete those that were accepted. Never raises: the relay takes what stays."""
    accepted = emitter.emit(keys.namespace, [facts for _, facts in entries])
    done = [entry_id for (entry_id, _), taken in zip(entries, accepted, strict=True) if taken]
    if done:
        try:
            store().command("XDEL", keys.outbox, *done)
        except StoreUnavailable:
            emitter.logger.exception("Published events stay in the outbox and will be published again")


def _entry(message: str, data: dict[str, Any]) -> MissionLogEntry:
    """A log entry of the service's own; its data are within their own limits, not a caller's entry's."""
    return MissionLogEntry.model_construct(level=LogLevel.INFO, message=message, data=data)


def _text(entry: MissionLogEntry) -> str:
    """The JSON of a log entry, open at the front for its timestamp."""
    return entry.model_dump_json()[1:]


def _log_facts(mission_id: str, entry: MissionLogEntry) -> str:
    return charter.facts(
        "mission.log_appended", {"mission_id": mission_id, "log_level": entry.level, "message": entry.message}
    )


def _seconds(moment: str) -> float:
    return int(moment) / 1_000_000


def _stored(mission_id: str, record: str) -> Mission:
    state, reason, content = record.split("\n", 2)
    return _mission(mission_id, f"{state}\n{reason}", content)


def _mission(mission_id: str, state: str, content: str) -> Mission:
    """A mission from the three lines that the store keeps (see prelude.lua)."""
    line, reason = state.split("\n")
    status, version, created, updated, _ = line.split(" ")
    return Mission(
        id=mission_id,
        **json.loads(content),
        status=MissionStatus(status),
        reason=json.loads(reason) if reason else None,
        version=int(version),
        created_at=_seconds(created),
        updated_at=_seconds(updated),
    )


def _cursor(position: str) -> str:
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def _decode(cursor: str, pattern: str) -> str:
    try:
        position = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        position = ""
    if not re.fullmatch(pattern, position):
        raise InvalidRequest(422, "invalid_cursor", "The cursor is none that this listing gave; begin without one.")
    return position


def _member(cursor: str) -> str:
    return _decode(cursor, r"\d{16}[A-Za-z0-9._~-]{1,128}")


def _position(cursor: str) -> int:
    return int(_decode(cursor, r"\d{1,15}"))
