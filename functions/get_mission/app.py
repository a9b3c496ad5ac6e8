"""GET /api/missions/{mission_id}: read a mission."""

from missions import api, service
from missions.domain.models import Mission

app = api.app(Mission)
ANSWERS = {200: {"description": "The mission"}, 304: {"description": "The caller has this version"}}


@app.get("/api/missions/<mission_id>", responses=ANSWERS)
def get_mission(mission_id: str) -> api.Response[Mission]:
    """Read a mission."""
    return api.respond_unless_known(app, service.get_mission(api.mission_id(app), api.namespace(app)))


handler = api.handler(app)
