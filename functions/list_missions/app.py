"""GET /api/missions: list missions, page by page."""

from missions import api, service
from missions.models import MissionPage, MissionQuery

app = api.resolver()


@api.operation(app, "GET", "/api/missions")
def list_missions(query: MissionQuery) -> MissionPage:
    """List missions, newest first."""
    return service.list_missions(status=query.status, limit=query.limit, cursor=query.cursor)


handler = api.handler(app)
