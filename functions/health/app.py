"""GET /api/missions/health: whether the store answers."""

from missions import api, service
from missions.domain.models import Health


def health(request: api.Request) -> api.Response[Health]:
    """Ask whether the store answers."""
    service.check_health()
    return api.respond(200, Health())


handler = api.handler(health, Health)
