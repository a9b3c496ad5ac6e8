"""GET /api/missions/{mission_id}/log: read a mission's log, page by page."""

from missions import api, service
from missions.domain.models import LogEntry, LogPage, LogQuery

app = api.app(LogQuery, LogEntry, LogPage)


@app.get("/api/missions/<mission_id>/log")
def get_log(mission_id: str) -> api.Response[LogPage]:
    """Read the log of a mission."""
    return api.respond(200, service.get_log(api.mission_id(app), api.namespace(app), api.query(app, LogQuery)))


handler = api.handler(app)
