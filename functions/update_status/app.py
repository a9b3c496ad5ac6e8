"""POST /api/missions/{mission_id}/status: change a mission's status, and publish mission.status_changed."""

from missions import api, service
from missions.domain.models import Mission, StatusUpdate

ANSWERS = {
    200: "The mission has the status",
    409: "The status table does not allow it",
    412: "If-Match does not name the mission's version",
}


def update_status(request: api.Request) -> api.Response[Mission]:
    """Change the status of a mission."""
    update = api.body(request, StatusUpdate)
    write = api.write(request, versions=api.if_match(request))
    changed = service.update_status(api.mission_id(request), update.status, update.reason, write)
    return api.respond(200, changed.value, changed)


handler = api.handler(update_status, StatusUpdate, Mission, publishes=True)
