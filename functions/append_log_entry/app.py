"""POST /api/missions/{mission_id}/log: append an entry to a mission's log, and publish mission.log_appended."""

from missions import api, service
from missions.fields import MissionId
from missions.models import LogBatch, LogEntry, LoggedBatch, MissionLogEntry

app = api.resolver()


@api.operation(app, "POST", "/api/missions/<mission_id>/log", status=201)
def append_log_entry(mission_id: MissionId, entry: MissionLogEntry | LogBatch) -> api.Response[LogEntry | LoggedBatch]:
    """Append an entry, or up to 100 together, to the log of a mission."""
    write = api.write(app)
    if isinstance(entry, LogBatch):
        entries = service.append_log_entries(mission_id, entry.entries, write)
        return api.respond(201, LoggedBatch(entries=entries), write)
    return api.respond(201, service.append_log_entry(mission_id, entry, write), write)


handler = api.handler(app, publishes=True)
