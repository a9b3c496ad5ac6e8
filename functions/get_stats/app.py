"""GET /api/missions/stats/overview: the statistics of all missions."""

from missions import api, service
from missions.models import StatsOverview

app = api.resolver()


@api.operation(app, "GET", "/api/missions/stats/overview")
def get_stats() -> StatsOverview:
    """Read the statistics of all missions."""
    return StatsOverview(stats=service.get_stats(api.namespace(app)))


handler = api.handler(app)
