"""POST /api/missions/{mission_id}/log: append an entry to a mission's log, and publish mission.log_appended."""

from missions import api, service
from missions.models import LogEntry, MissionLogEntry

app = api.resolver()


@api.operation(app, "POST", "/api/missions/<mission_id>/log", status=201)
def append_log_entry(mission_id: str, entry: MissionLogEntry) -> api.Response[LogEntry]:
    """Append an entry to the log of a mission."""
    write = api.write(app)
    return api.respond(201, service.append_log_entry(mission_id, entry, write), write)


handler = api.handler(app)
