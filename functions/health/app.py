"""GET /api/missions/health: whether the store answers."""

from missions import api, service
from missions.models import Health

app = api.resolver()


@api.operation(app, "GET", "/api/missions/health")
def health() -> Health:
    """Ask whether the store answers."""
    service.check_health()
    return Health()


handler = api.handler(app)
