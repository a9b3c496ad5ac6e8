"""POST /api/missions/claim: give a worker a mission that waits, and publish mission.status_changed."""

from missions import api, service
from missions.domain.models import Claim, Mission

ANSWERS = {200: "The mission is the worker's, and RUNNING", 204: "No mission waits"}


def claim_mission(request: api.Request) -> api.Response[Mission]:
    """Take one of the missions that have waited longest."""
    claimed = service.claim_mission(api.body(request, Claim), api.write(request))
    return api.respond(200, claimed.value, claimed) if claimed else api.respond_nothing()


handler = api.handler(claim_mission, Claim, Mission, publishes=True)
