"""GET /api/missions/{mission_id}/log: read a mission's log, page by page."""

from missions import api, service
from missions.domain.models import LogEntry, LogPage, LogQuery


def get_log(request: api.Request) -> api.Response[LogPage]:
    """Read the log of a mission."""
    page = service.get_log(api.mission_id(request), api.namespace(request), api.query(request, LogQuery))
    return api.respond(200, page)


handler = api.handler(get_log, LogQuery, LogEntry, LogPage)
