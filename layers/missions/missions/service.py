"""The operations of the specification: each changes or reads the store, then its events are published.

Every function raises a MissionsError when it refuses, and StoreUnavailable when Redis does not answer.
"""

from collections.abc import Sequence
from uuid import uuid4

from missions import runtime
from missions.domain import events
from missions.domain.events import Draft
from missions.domain.models import (
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
from missions.domain.writes import DEFAULT, NewEntry, Result, Write
from missions.publishing.emitter import Emitter, EventStream


def set_event_stream(stream: EventStream | None) -> None:
    """Publish to this stream instead of the bus that the settings name; None goes back to that bus."""
    if stream is None:
        vars(runtime.current).pop("emitter", None)
    else:
        runtime.current.emitter = Emitter(lambda: stream)


def create_mission(payload: MissionCreate, write: Write | None = None) -> Result[Mission]:
    """Create a mission, PENDING. An id that exists gives that mission when its content is the same.

    Events: mission.log_appended, then mission.created. Outcomes: created, exists. Raises MissionExists, KeyReused.
    """
    named = {"name": payload.name, "description": payload.description}
    entry = NewEntry(LogLevel.INFO, "Mission created", named)
    created = events.draft("mission.created", {**named, "status": MissionStatus.PENDING}, offset=1)
    result, made = runtime.current.store.create_mission(
        write or Write(), payload.id or str(uuid4()), payload, entry, _to_publish(_logged(entry), created)
    )
    runtime.current.publish(made)
    return result


def update_status(
    mission_id: str, status: MissionStatus, reason: str | None = None, write: Write | None = None
) -> Result[Mission]:
    """Change a mission's status; asking for the one that it has changes nothing.

    Events: mission.log_appended, then mission.status_changed. Outcomes: changed, unchanged.
    Raises MissionNotFound, TransitionRefused, StaleVersion, KeyReused.
    """
    why = {"reason": reason} if reason else {}
    entry = NewEntry(LogLevel.INFO, "Mission status changed", why)
    changed = events.draft("mission.status_changed", {"new_status": status}, offset=1, **why)
    result, made = runtime.current.store.change_status(
        write or Write(), mission_id, status, reason, entry, _to_publish(_logged(entry), changed)
    )
    runtime.current.publish(made)
    return result


def append_log_entry(mission_id: str, entry: MissionLogEntry, write: Write | None = None) -> Result[LogEntry]:
    """Append an entry to a mission's log, in any status.

    Events: mission.log_appended. Outcome: appended. Raises MissionNotFound, KeyReused.
    """
    result = _append(mission_id, [entry], write, batch=False)
    return Result(result.value[0], result.outcome, result.replayed)


def append_log_entries(
    mission_id: str, entries: Sequence[MissionLogEntry], write: Write | None = None
) -> Result[list[LogEntry]]:
    """Append entries (up to 100) to a mission's log, together and at one moment.

    Events: a mission.log_appended for each. Outcome: appended. Raises MissionNotFound, KeyReused.
    """
    return _append(mission_id, entries, write, batch=True)


def get_mission(mission_id: str, namespace: str = DEFAULT) -> Mission:
    """The mission as it is now. Raises MissionNotFound."""
    return runtime.current.store.get_mission(namespace, mission_id)


def list_missions(namespace: str = DEFAULT, query: MissionQuery | None = None) -> MissionPage:
    """A page of missions, by creation time and then id. Raises InvalidRequest for a cursor that it did not give.

    A walk through all pages sees every mission that matched throughout exactly once.
    """
    return runtime.current.store.list_missions(namespace, query or MissionQuery())


def get_log(mission_id: str, namespace: str = DEFAULT, query: LogQuery | None = None) -> LogPage:
    """A page of a mission's log. Raises MissionNotFound, InvalidRequest for a cursor that it did not give.

    With a filter a call examines up to 1,000 entries, so a page that is not the last may be short.
    """
    return runtime.current.store.get_log(namespace, mission_id, query or LogQuery())


def get_stats(namespace: str = DEFAULT) -> Stats:
    """The statistics of all missions, kept at write time: a recount always equals them."""
    return runtime.current.store.get_stats(namespace)


def check_health(namespace: str = DEFAULT) -> None:
    """Ask the store. Raises StoreUnavailable."""
    runtime.current.store.check_health(namespace)


def _append(
    mission_id: str, given: Sequence[MissionLogEntry], write: Write | None, *, batch: bool
) -> Result[list[LogEntry]]:
    entries = [NewEntry(each.level, each.message, each.data) for each in given]
    drafts = _to_publish(*(_logged(entry, offset) for offset, entry in enumerate(entries)))
    result, made = runtime.current.store.append_log(write or Write(), mission_id, entries, drafts, batch=batch)
    runtime.current.publish(made)
    logged = [
        LogEntry(timestamp=result.value, level=each.level, message=each.message, data=each.data) for each in entries
    ]
    return Result(logged, result.outcome, result.replayed)


def _logged(entry: NewEntry, offset: int = 0) -> Draft:
    return events.draft("mission.log_appended", {"log_level": entry.level, "message": entry.message}, offset=offset)


def _to_publish(*drafts: Draft) -> Sequence[Draft]:
    """These events, or none where nobody publishes them."""
    return drafts if runtime.current.emitter.enabled else ()
