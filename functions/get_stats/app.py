"""GET /api/missions/stats/overview: the statistics of all missions."""

from missions import api, service
from missions.domain.models import Durations, Stats, StatsOverview

app = api.app(Durations, Stats, StatsOverview)


@app.get("/api/missions/stats/overview")
def get_stats() -> api.Response[StatsOverview]:
    """Read the statistics of all missions."""
    return api.respond(200, StatsOverview(stats=service.get_stats(api.namespace(app))))


handler = api.handler(app)
