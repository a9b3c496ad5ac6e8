"""POST /api/missions: create a mission, and publish mission.created."""

from missions import api, service
from missions.domain.models import Mission, MissionCreate

app = api.app(MissionCreate, Mission)
ANSWERS = {
    201: {"description": "Created"},
    200: {"description": "The id exists, with the same content"},
    409: {"description": "The id exists, with other content"},
}


@app.post("/api/missions", responses=ANSWERS)
def create_mission() -> api.Response[Mission]:
    """Create a mission."""
    created = service.create_mission(api.body(app, MissionCreate), api.write(app))
    return api.respond(200 if created.outcome == "exists" else 201, created.value, created)


handler = api.handler(app, publishes=True)
