"""GET /api/missions/{mission_id}/log: read a mission's log, page by page."""

from missions import api, service
from missions.fields import MissionId
from missions.models import LogPage, LogQuery

app = api.resolver()


@api.operation(app, "GET", "/api/missions/<mission_id>/log")
def get_log(mission_id: MissionId, query: LogQuery) -> LogPage:
    """Read the log of a mission."""
    return service.get_log(mission_id, api.namespace(app), query)


handler = api.handler(app)
