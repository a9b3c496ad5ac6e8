"""POST /api/missions/{mission_id}/log: append to a mission's log, and publish mission.log_appended for each entry."""

from missions import api, service
from missions.domain.models import LogAppend, LogBatch, LogEntry, LoggedBatch, MissionLogEntry
from pydantic import TypeAdapter

ANSWERS = {201: "Appended"}
LOG_APPEND: TypeAdapter[MissionLogEntry | LogBatch] = TypeAdapter(LogAppend)


def append_log_entry(request: api.Request) -> api.Response[LogEntry | LoggedBatch]:
    """Append an entry, or up to 100 together, to the log of a mission."""
    mission_id, entry, write = api.mission_id(request), api.body_of(request, LOG_APPEND), api.write(request)
    if isinstance(entry, LogBatch):
        batch = service.append_log_entries(mission_id, entry.entries, write)
        return api.respond(201, LoggedBatch(entries=batch.value), batch)
    appended = service.append_log_entry(mission_id, entry, write)
    return api.respond(201, appended.value, appended)


handler = api.handler(append_log_entry, LogEntry, LoggedBatch, publishes=True)
