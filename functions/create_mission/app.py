"""POST /api/missions: create a mission, and publish mission.created."""

from missions import api, service
from missions.models import Mission, MissionCreate

app = api.resolver()
ALSO = {200: "The id exists, with the same content", 409: "The id exists, with other content"}


@api.operation(app, "POST", "/api/missions", status=201, also=ALSO)
def create_mission(mission: MissionCreate) -> api.Response[Mission]:
    """Create a mission."""
    write = api.write(app)
    created = service.create_mission(mission, write)
    return api.respond(200 if write.outcome == "exists" else 201, created, write)


handler = api.handler(app, publishes=True)
