"""GET /api/missions: list missions, page by page."""

from missions import api, service
from missions.models import MissionPage, MissionQuery

app = api.resolver()


@api.operation(app, "GET", "/api/missions")
def list_missions(query: MissionQuery) -> MissionPage:
    """List missions, by creation time and then id."""
    return service.list_missions(api.namespace(app), query)


handler = api.handler(app)
