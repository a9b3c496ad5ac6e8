"""GET /api/missions/{mission_id}: read a mission."""

from missions import api, service
from missions.domain.models import Mission

ANSWERS = {200: "The mission", 304: "The caller has this version"}


def get_mission(request: api.Request) -> api.Response[Mission]:
    """Read a mission."""
    mission = service.get_mission(api.mission_id(request), api.namespace(request))
    return api.respond_unless_known(request, mission)


handler = api.handler(get_mission, Mission)
