"""GET /api/missions/stats/overview: the statistics of all missions."""

from missions import api, service
from missions.domain.models import AllTime, Durations, Stats, StatsOverview

ANSWERS = {200: "The statistics", 304: "Nothing changed since the caller's version"}


def get_stats(request: api.Request) -> api.Response[StatsOverview]:
    """Read the statistics of all missions."""
    stats = service.stats_view(api.namespace(request), api.known_versions(request))
    return api.respond_view(stats, lambda value: StatsOverview(stats=value))


handler = api.handler(get_stats, AllTime, Durations, Stats, StatsOverview)
