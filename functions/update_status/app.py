"""POST /api/missions/{mission_id}/status: change a mission's status, and publish mission.status_changed."""

from missions import api, service
from missions.domain.models import Mission, StatusUpdate

app = api.app(StatusUpdate, Mission)
ANSWERS = {
    200: {"description": "The mission has the status"},
    409: {"description": "The status table does not allow it"},
    412: {"description": "If-Match does not name the mission's version"},
}


@app.post("/api/missions/<mission_id>/status", responses=ANSWERS)
def update_status(mission_id: str) -> api.Response[Mission]:
    """Change the status of a mission."""
    update = api.body(app, StatusUpdate)
    write = api.write(app, versions=api.if_match(app))
    changed = service.update_status(api.mission_id(app), update.status, update.reason, write)
    return api.respond(200, changed.value, changed)


handler = api.handler(app, publishes=True)
