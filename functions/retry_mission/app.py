"""POST /api/missions/{mission_id}/retry: make the next attempt of a mission, and publish mission.created."""

from missions import api, service
from missions.domain.models import Mission

ANSWERS = {201: "The next attempt", 409: "It is neither FAILED nor CANCELLED, or has its next attempt"}


def retry_mission(request: api.Request) -> api.Response[Mission]:
    """Make the next attempt of a mission that is FAILED or CANCELLED."""
    retried = service.retry_mission(api.mission_id(request), api.write(request))
    return api.respond(201, retried.value, retried)


handler = api.handler(retry_mission, Mission, publishes=True)
