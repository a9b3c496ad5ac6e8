"""GET /api/missions/stats/history: how many missions were created and finished, by hour or day."""

from missions import api, service
from missions.domain.models import History, HistoryQuery


def get_history(request: api.Request) -> api.Response[History]:
    """Read how many missions were created and finished over time."""
    return api.respond(200, service.get_history(api.namespace(request), api.query(request, HistoryQuery)))


handler = api.handler(get_history, HistoryQuery, History)
