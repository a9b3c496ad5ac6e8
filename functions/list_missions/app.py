"""GET /api/missions: list missions, page by page."""

from missions import api, service
from missions.domain.models import Mission, MissionPage, MissionQuery

app = api.app(MissionQuery, Mission, MissionPage)


@app.get("/api/missions")
def list_missions() -> api.Response[MissionPage]:
    """List missions, by creation time and then id."""
    return api.respond(200, service.list_missions(api.namespace(app), api.query(app, MissionQuery)))


handler = api.handler(app)
