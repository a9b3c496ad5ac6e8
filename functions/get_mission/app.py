"""GET /api/missions/{mission_id}: read a mission."""

from missions import api, service
from missions.fields import MissionId
from missions.models import Mission

app = api.resolver()


@api.operation(app, "GET", "/api/missions/<mission_id>", also={304: "The caller has this version"})
def get_mission(mission_id: MissionId) -> api.Response[Mission]:
    """Read a mission."""
    return api.respond_unless_known(app, service.get_mission(mission_id, api.namespace(app)))


handler = api.handler(app)
