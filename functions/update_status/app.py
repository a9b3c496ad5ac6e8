"""POST /api/missions/{mission_id}/status: change a mission's status, and publish mission.status_changed."""

from missions import api, service
from missions.fields import MissionId
from missions.models import Mission, StatusUpdate

app = api.resolver()
ALSO = {409: "The status table does not allow it", 412: "If-Match names another version"}


@api.operation(app, "POST", "/api/missions/<mission_id>/status", also=ALSO)
def update_status(mission_id: MissionId, update: StatusUpdate) -> api.Response[Mission]:
    """Change the status of a mission."""
    write = api.write(app)
    write.if_match = api.if_match(app)
    mission = service.update_status(mission_id, update.status, write, reason=update.reason)
    return api.respond(200, mission, write)


handler = api.handler(app, publishes=True)
