"""POST /api/missions: create a mission, and publish mission.created."""

from missions import api, service
from missions.models import Mission, MissionCreate

app = api.resolver()


@api.operation(app, "POST", "/api/missions", status=201)
def create_mission(mission: MissionCreate) -> api.Response[Mission]:
    """Create a mission."""
    write = api.write(app)
    created = service.create_mission(mission, write)
    return api.respond(200 if write.outcome == "exists" else 201, created, write)


handler = api.handler(app)
