"""POST /api/missions/{mission_id}/heartbeat: a worker shows that it works, and learns the mission's status."""

from missions import api, service
from missions.domain.models import Heartbeat, SignOfLife

ANSWERS = {200: "The sign was taken, if the mission is RUNNING"}


def heartbeat(request: api.Request) -> api.Response[SignOfLife]:
    """Show a sign of life of a mission."""
    sign = api.body_or_nothing(request, Heartbeat)
    return api.respond(200, service.heartbeat(api.mission_id(request), sign, api.namespace(request)))


handler = api.handler(heartbeat, Heartbeat, SignOfLife)
