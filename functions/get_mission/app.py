"""GET /api/missions/{mission_id}: read a mission."""

from missions import api, service
from missions.models import Mission

app = api.resolver()


@api.operation(app, "GET", "/api/missions/<mission_id>")
def get_mission(mission_id: str) -> Mission:
    """Read a mission."""
    return service.get_mission(mission_id)


handler = api.handler(app)
