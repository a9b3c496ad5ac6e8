"""GET /api/missions: list missions, page by page."""

from missions import api, service
from missions.domain.models import Mission, MissionPage, MissionQuery

ANSWERS = {200: "A page of missions", 304: "Nothing changed since the caller's version"}


def list_missions(request: api.Request) -> api.Response[MissionPage]:
    """List missions: by creation time and then id, by name, or the longest overdue first."""
    query, known = api.query(request, MissionQuery), api.known_versions(request)
    return api.respond_view(service.missions_view(api.namespace(request), query, known))


handler = api.handler(list_missions, MissionQuery, Mission, MissionPage)
