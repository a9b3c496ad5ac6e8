"""GET /api/missions/stats/overview: the statistics of all missions."""

from missions import api, service
from missions.domain.models import Durations, Stats, StatsOverview


def get_stats(request: api.Request) -> api.Response[StatsOverview]:
    """Read the statistics of all missions."""
    return api.respond(200, StatsOverview(stats=service.get_stats(api.namespace(request))))


handler = api.handler(get_stats, Durations, Stats, StatsOverview)
