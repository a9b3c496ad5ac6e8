"""GET /api/missions: list missions, page by page."""

from missions import api, service
from missions.domain.models import Mission, MissionPage, MissionQuery


def list_missions(request: api.Request) -> api.Response[MissionPage]:
    """List missions, by creation time and then id."""
    return api.respond(200, service.list_missions(api.namespace(request), api.query(request, MissionQuery)))


handler = api.handler(list_missions, MissionQuery, Mission, MissionPage)
