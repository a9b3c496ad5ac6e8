"""POST /api/missions/{mission_id}/log: append to a mission's log, and publish mission.log_appended for each entry."""

from missions import api, service
from missions.domain.models import LogAppend, LogBatch, LogEntry, LoggedBatch
from pydantic import TypeAdapter

app = api.app(LogEntry, LoggedBatch)
LOG_APPEND = TypeAdapter(LogAppend)


@app.post("/api/missions/<mission_id>/log", responses={201: {"description": "Appended"}})
def append_log_entry(mission_id: str) -> api.Response[LogEntry | LoggedBatch]:
    """Append an entry, or up to 100 together, to the log of a mission."""
    mission_id, entry, write = api.mission_id(app), api.body_of(app, LOG_APPEND), api.write(app)
    if isinstance(entry, LogBatch):
        batch = service.append_log_entries(mission_id, entry.entries, write)
        return api.respond(201, LoggedBatch(entries=batch.value), batch)
    appended = service.append_log_entry(mission_id, entry, write)
    return api.respond(201, appended.value, appended)


handler = api.handler(app, publishes=True)
