"""POST /api/missions/{mission_id}/status: change a mission's status, and publish mission.status_changed."""

from missions import api, service
from missions.models import Mission, StatusUpdate

app = api.resolver()


@api.operation(app, "POST", "/api/missions/<mission_id>/status")
def update_status(mission_id: str, update: StatusUpdate) -> api.Response[Mission]:
    """Change the status of a mission."""
    write = api.write(app)
    write.if_match = api.if_match(app)
    mission = service.update_status(mission_id, update.status, write, reason=update.reason)
    return api.respond(200, mission, write)


handler = api.handler(app)
