"""POST /api/missions/cancel: cancel up to 100 missions, and publish mission.status_changed for each."""

from missions import api, cancelling
from missions.domain.models import Cancel, CancelledPage

ANSWERS = {200: "What became of each"}


def cancel_missions(request: api.Request) -> api.Response[CancelledPage]:
    """Cancel missions by their ids, or the oldest that match a filter."""
    return api.respond(200, cancelling.cancel_missions(api.body(request, Cancel), api.write(request)))


handler = api.handler(cancel_missions, Cancel, CancelledPage, publishes=True)
