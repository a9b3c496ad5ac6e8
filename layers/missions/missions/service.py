"""The operations, those of the specification by its names: each changes or reads the store, then publishes its events.

Every function raises a MissionsError when it refuses, and StoreUnavailable when Redis does not answer.
"""

from collections.abc import Collection, Sequence
from typing import Any, cast
from uuid import uuid4

from missions import runtime
from missions.domain import events
from missions.domain.events import Draft, EventType
from missions.domain.models import (
    Claim,
    Heartbeat,
    History,
    HistoryQuery,
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
    SignOfLife,
    Stats,
)
from missions.domain.writes import DEFAULT, Change, NewEntry, NextAttempt, OneChange, Result, View, Write
from missions.publishing.emitter import EventStream


def set_event_stream(stream: EventStream | None) -> None:
    """Publish to this stream instead of the bus that the settings name; None goes back to that bus."""
    runtime.current.set_event_stream(stream)


def create_mission(payload: MissionCreate, write: Write | None = None) -> Result[Mission]:
    """Create a mission, PENDING. An id that exists gives that mission when its content is the same.

    Events: mission.log_appended, then mission.created. Outcomes: created, exists.
    Raises MissionExists, KeyReused, InvalidRequest for a deadline that is in the past.
    """
    write = write or Write()
    named = {"name": payload.name, "description": payload.description}
    entry = NewEntry(LogLevel.INFO, "Mission created", named)
    created = _draft("mission.created", {**named, "status": str(MissionStatus.PENDING)}, write, offset=1)
    result, made = runtime.current.store.create_mission(
        write, payload.id or str(uuid4()), payload, entry, _to_publish(_logged(entry, write), created)
    )
    runtime.current.publish(made)
    return result


def update_status(
    mission_id: str, status: MissionStatus, reason: str | None = None, write: Write | None = None
) -> Result[Mission]:
    """Change a mission's status; asking for the one that it has changes nothing.

    A mission that becomes FAILED and has retries left gets its next attempt with it.
    Events: mission.log_appended, then mission.status_changed, and those of the next attempt. Outcomes: changed,
    unchanged. Raises MissionNotFound, MissionRemoved, TransitionRefused, StaleVersion, KeyReused.
    """
    write = write or Write()
    successor = next_attempt(write) if status == MissionStatus.FAILED else None
    one = OneChange(write, mission_id, change(status, reason, write), successor)
    result, made = runtime.current.store.change_status(one)
    runtime.current.publish(made)
    return result


def claim_mission(claim: Claim, write: Write | None = None) -> Result[Mission] | None:
    """Take one of the PENDING missions that have waited longest, which becomes RUNNING; None when there is none.

    No two workers get the same one. Events: mission.log_appended, then mission.status_changed. Outcome: claimed.
    Raises KeyReused.
    """
    write = write or Write()
    worker = {"worker": claim.worker} if claim.worker else {}
    taken = runtime.current.store.claim_mission(write, claim, change(MissionStatus.RUNNING, None, write, **worker))
    if taken is None:
        return None
    result, made = taken
    runtime.current.publish(made)
    return result


def heartbeat(mission_id: str, sign: Heartbeat | None = None, namespace: str = DEFAULT) -> SignOfLife:
    """Show a sign of life of a mission that is RUNNING; of another one it changes nothing. No events.

    Raises MissionNotFound, MissionRemoved.
    """
    return runtime.current.store.heartbeat(namespace, mission_id, sign or Heartbeat())


def retry_mission(mission_id: str, write: Write | None = None) -> Result[Mission]:
    """Make the next attempt of a mission that is FAILED or CANCELLED; gives that new mission.

    Events: mission.log_appended, then mission.created. Outcome: retried.
    Raises MissionNotFound, MissionRemoved, RetryRefused, AlreadyRetried, KeyReused.
    """
    write = write or Write()
    result, made = runtime.current.store.retry_mission(write, mission_id, next_attempt(write))
    runtime.current.publish(made)
    return result


def delete_mission(mission_id: str, namespace: str = DEFAULT) -> None:
    """Remove a finished mission with its log; one that was removed stays so. No events; those that wait are published.

    Raises MissionNotFound, MissionOpen.
    """
    runtime.current.store.remove_mission(namespace, mission_id)


def append_log_entry(mission_id: str, entry: MissionLogEntry, write: Write | None = None) -> Result[LogEntry]:
    """Append an entry to a mission's log, in any status.

    Events: mission.log_appended. Outcome: appended. Raises MissionNotFound, MissionRemoved,
    KeyReused.
    """
    result = _append(mission_id, [entry], write, batch=False)
    return Result(result.value[0], result.outcome, result.replayed)


def append_log_entries(
    mission_id: str, entries: Sequence[MissionLogEntry], write: Write | None = None
) -> Result[list[LogEntry]]:
    """Append entries (up to 100) to a mission's log, together and at one moment.

    Events: a mission.log_appended for each. Outcome: appended. Raises MissionNotFound, MissionRemoved,
    KeyReused.
    """
    return _append(mission_id, entries, write, batch=True)


def get_mission(mission_id: str, namespace: str = DEFAULT) -> Mission:
    """The mission as it is now. Raises MissionNotFound, MissionRemoved."""
    return runtime.current.store.get_mission(namespace, mission_id)


def list_missions(namespace: str = DEFAULT, query: MissionQuery | None = None) -> MissionPage:
    """A page of missions: by creation time and then id, by name, or the longest overdue first.

    Raises InvalidRequest for a cursor that it did not give. A walk through all pages by creation time sees every
    mission that matched throughout exactly once.
    """
    return cast(MissionPage, missions_view(namespace, query or MissionQuery()).value)


def missions_view(namespace: str, query: MissionQuery, known: Collection[str] = ()) -> View[MissionPage]:
    """What `list_missions` gives with its version, or that version alone when it is one of those `known`."""
    return runtime.current.views.list_missions(namespace, query, known)


def get_log(mission_id: str, namespace: str = DEFAULT, query: LogQuery | None = None) -> LogPage:
    """A page of a mission's log. Raises MissionNotFound, MissionRemoved, InvalidRequest for a cursor of another page.

    With a filter a call examines up to 1,000 entries, so a page that is not the last may be short.
    """
    return runtime.current.store.get_log(namespace, mission_id, query or LogQuery())


def get_stats(namespace: str = DEFAULT) -> Stats:
    """The statistics of all missions, kept at write time: a recount always equals them."""
    return cast(Stats, stats_view(namespace).value)


def stats_view(namespace: str, known: Collection[str] = ()) -> View[Stats]:
    """What `get_stats` gives with its version, or that version alone when it is one of those `known`."""
    return runtime.current.views.get_stats(namespace, known)


def get_history(namespace: str = DEFAULT, query: HistoryQuery | None = None) -> History:
    """How many missions were created and finished in each hour or day. Raises InvalidRequest."""
    return runtime.current.views.get_history(namespace, query or HistoryQuery())


def check_health(namespace: str = DEFAULT) -> None:
    """Ask the store. Raises StoreUnavailable."""
    runtime.current.store.check_health(namespace)


def _append(
    mission_id: str, given: Sequence[MissionLogEntry], write: Write | None, *, batch: bool
) -> Result[list[LogEntry]]:
    write = write or Write()
    entries = [NewEntry(each.level, each.message, each.data) for each in given]
    drafts = _to_publish(*(_logged(entry, write, offset) for offset, entry in enumerate(entries)))
    result, made = runtime.current.store.append_log(write, mission_id, entries, drafts, batch=batch)
    runtime.current.publish(made)
    logged = [
        LogEntry(timestamp=result.value, level=each.level, message=each.message, data=each.data) for each in entries
    ]
    return Result(logged, result.outcome, result.replayed)


def change(status: MissionStatus, reason: str | None, write: Write, **told: str) -> Change:
    """A change to this status; its log entry also has what is `told`."""
    why = {"reason": reason} if reason else {}
    who = {"actor": write.actor} if write.actor else {}
    entry = NewEntry(LogLevel.INFO, "Mission status changed", {**why, **who, **told})
    changed = _draft("mission.status_changed", {"new_status": str(status)}, write, offset=1, **why)
    return Change(status, reason, entry, _to_publish(_logged(entry, write), changed))


def next_attempt(write: Write) -> NextAttempt:
    """What a next attempt needs, in case there is one. Name and description of its event come from its mission."""
    entry = NewEntry(LogLevel.INFO, "Mission created", {})
    created = _draft("mission.created", {"status": str(MissionStatus.PENDING)}, write, offset=1)
    return NextAttempt(str(uuid4()), entry, _to_publish(_logged(entry, write), created))


def _logged(entry: NewEntry, write: Write, offset: int = 0) -> Draft:
    told = {"log_level": str(entry.level), "message": entry.message}
    return _draft("mission.log_appended", told, write, offset=offset)


def _draft(event_type: EventType, payload: dict[str, Any], write: Write, *, offset: int = 0, **meta: Any) -> Draft:
    """A draft with who did it. Its statuses and levels are plain texts: to_json takes three times as long for enums."""
    if write.actor:
        meta["actor"] = write.actor
    return events.draft(event_type, payload, offset=offset, **meta)


def _to_publish(*drafts: Draft) -> Sequence[Draft]:
    """These events, or none where nobody publishes them."""
    return drafts if runtime.current.emitter.enabled else ()
