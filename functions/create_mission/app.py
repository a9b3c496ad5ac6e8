"""POST /api/missions: create a mission, and publish mission.created."""

from missions import api, service
from missions.domain.models import Mission, MissionCreate

ANSWERS = {201: "Created", 200: "The id exists, with the same content", 409: "The id exists, with other content"}


def create_mission(request: api.Request) -> api.Response[Mission]:
    """Create a mission."""
    created = service.create_mission(api.body(request, MissionCreate), api.write(request))
    return api.respond(200 if created.outcome == "exists" else 201, created.value, created)


handler = api.handler(create_mission, MissionCreate, Mission, publishes=True)
