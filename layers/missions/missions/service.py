"""The operations of the specification: each is one round trip to the store, and then its events are published.

Every function raises a MissionsError when it refuses; StoreUnavailable when Redis does not answer.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from missions import charter, cursors, durations, emitter, lifecycle, records
from missions.errors import (
    KeyReused,
    MissionExists,
    MissionNotFound,
    StaleVersion,
    StoreUnavailable,
    TransitionRefused,
)
from missions.fields import compact_json
from missions.models import (
    LogEntry,
    LogLevel,
    LogPage,
    LogQuery,
    Mission,
    MissionCreate,
    MissionLogEntry,
    MissionPage,
    MissionQuery,
    MissionStatus,
    Stats,
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
    created = charter.facts(
        "mission.created",
        {
            "mission_id": mission_id,
            **named,
            "status": MissionStatus.PENDING,
        },
    )
    entry, logged = _log(mission_id, LogLevel.INFO, "Mission created", named)
    mission_id, state = _write(
        "create",
        write,
        mission_id,
        fingerprint=[payload.id, content],
        keys=[keys.stats, keys.index(MissionStatus.PENDING)],
        args=[mission_id, content, entry, logged, created],
        facts=[logged, created],
    )
    return records.mission(mission_id, state, content)


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
    entry, logged = _log(mission_id, LogLevel.INFO, "Mission status changed", why)
    changed = charter.facts("mission.status_changed", {"mission_id": mission_id, "new_status": status}, **why)
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
            entry.removesuffix("}}") + ("," if why else ""),  # the script adds from and to
            logged,
            changed,
            *sources,
        ],
        facts=[logged, changed],
    )
    return records.mission(mission_id, state, content)


def append_log_entry(mission_id: str, entry: MissionLogEntry, write: Write | None = None) -> LogEntry:
    """Append an entry to a mission's log, whatever its status.

    Events: mission.log_appended. Raises MissionNotFound, KeyReused.
    """
    return _append(mission_id, [entry], write, fingerprint=entry.model_dump())[0]


def append_log_entries(
    mission_id: str, entries: Sequence[MissionLogEntry], write: Write | None = None
) -> list[LogEntry]:
    """Append entries (up to 100) to a mission's log, together and at one moment.

    Events: a mission.log_appended for each. Raises MissionNotFound, KeyReused.
    """
    return _append(mission_id, entries, write, fingerprint=[entry.model_dump() for entry in entries])


def _append(
    mission_id: str, entries: Sequence[MissionLogEntry], write: Write | None, fingerprint: Any
) -> list[LogEntry]:
    logged = [_log(mission_id, entry.level, entry.message, entry.data) for entry in entries]
    appended = _write(
        "log",
        write or Write(),
        mission_id,
        fingerprint=[fingerprint],
        keys=[],
        args=[text for pair in logged for text in pair],
        facts=[facts for _, facts in logged],
    )
    return [LogEntry.model_validate_json(text) for text in appended]


def get_mission(mission_id: str, namespace: str = "default") -> Mission:
    """The mission as it is now. Raises MissionNotFound."""
    record = store().command("GET", Keys(namespace).mission(mission_id))
    if record is None:
        raise MissionNotFound(mission_id)
    return records.stored(mission_id, record)


def list_missions(namespace: str = "default", query: MissionQuery | None = None) -> MissionPage:
    """One page of missions, by creation time and then id. Raises InvalidRequest for a cursor it never gave.

    A walk through all pages sees every mission that matched throughout exactly once.
    """
    keys = Keys(namespace)
    query = query or MissionQuery()
    low = "" if query.created_after is None else records.moment(query.created_after, 1)
    high = (
        ":" if query.created_before is None else records.moment(query.created_before, 0)
    )  # ':' comes behind all digits
    if query.cursor:
        last = cursors.member(query.cursor, query.order)
        low, high = (low, min(high, last)) if query.order == "newest" else (max(low, last), high)
    last, *found = store().script(
        "list",
        [keys.index(each) for each in dict.fromkeys(query.status or MissionStatus)],
        keys.mission(""),
        query.limit,
        query.order,
        low,
        high,
    )
    missions = [records.stored(*pair) for pair in zip(found[::2], found[1::2], strict=True)]
    return MissionPage(missions=missions, next_cursor=cursors.encode(query.order, last) if last else None)


def get_log(mission_id: str, namespace: str = "default", query: LogQuery | None = None) -> LogPage:
    """One page of a mission's log. Raises MissionNotFound, InvalidRequest for a cursor it never gave.

    With a filter a call examines up to 1,000 entries, so a page that is not the last may be short.
    """
    keys = Keys(namespace)
    query = query or LogQuery()
    oldest = query.order == "oldest"
    start: int | str = "" if not oldest else 0
    if query.cursor:
        start = cursors.position(query.cursor, query.order)
    page = store().script(
        "get_log", [keys.mission(mission_id), keys.log(mission_id)], start, query.limit, query.order, *query.level
    )
    if page is None:
        raise MissionNotFound(mission_id)
    length, follow, *texts = page
    more = follow < length if oldest else follow > 0
    poll = follow if oldest else None if query.cursor else length
    return LogPage(
        mission_id=mission_id,
        log=[LogEntry.model_validate_json(text) for text in texts],
        next_cursor=cursors.encode(query.order, follow) if more else None,
        poll_cursor=None if poll is None else cursors.encode("oldest", poll),
    )


def get_stats(namespace: str = "default") -> Stats:
    """The statistics of all missions, kept at write time: a recount always equals them."""
    keys = Keys(namespace)
    pairs, buckets = store().script("stats", [keys.stats, keys.durations])
    counts = dict(zip(pairs[::2], pairs[1::2], strict=True))
    updated = counts.pop("last_updated", None)
    by_status = {status: int(counts.get(status, 0)) for status in MissionStatus}
    completed, failed = by_status[MissionStatus.COMPLETED], by_status[MissionStatus.FAILED]
    return Stats(
        total=sum(by_status.values()),
        by_status=by_status,
        success_rate=completed / (completed + failed) if completed + failed else None,
        duration=durations.summary(dict(zip(buckets[::2], map(int, buckets[1::2]), strict=True))),
        last_updated=records.seconds(updated) if updated else None,
    )


def check_health(namespace: str = "default") -> None:
    """Ask the namespace's own slot. Raises StoreUnavailable."""
    store().command("EXISTS", Keys(namespace).stats)


def _write(
    script: str,
    write: Write,
    mission_id: str,
    *,
    fingerprint: list[Any],
    keys: list[str],
    args: list[str | int],
    facts: list[str],
) -> list[str]:
    """Run a writing script, publish the events of these facts, and give the rest of its reply."""
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
    write.outcome, replayed, events, *rest = reply
    write.replayed = bool(replayed)
    if events:
        whole = [beginning + rest for beginning, rest in zip(events[1::2], facts, strict=True)]
        emitter.after_response(functools.partial(_publish, names, events[::2], whole))
    return list(rest)


def _publish(keys: Keys, entry_ids: list[str], facts: list[str]) -> None:
    """Publish outbox entries and delete those that were accepted. Never raises: the relay takes what stays."""
    accepted = emitter.emit(keys.namespace, facts)
    done = [entry_id for entry_id, taken in zip(entry_ids, accepted, strict=True) if taken]
    if done:
        try:
            store().command("XDEL", keys.outbox, *done)
        except StoreUnavailable:
            emitter.logger.exception("Published events stay in the outbox and will be published again")


def _log(mission_id: str, level: LogLevel, message: str, data: dict[str, Any]) -> tuple[str, str]:
    """A log entry in JSON, open at the front for its timestamp, and the facts of its event."""
    text = to_json({"level": level, "message": message, "data": data}).decode()[1:]
    facts = {"mission_id": mission_id, "log_level": level, "message": message}
    return text, charter.facts("mission.log_appended", facts)
