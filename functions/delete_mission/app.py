"""DELETE /api/missions/{mission_id}: remove a finished mission with its log."""

from missions import api, service

ANSWERS = {204: "It is removed", 409: "It is not finished"}


def delete_mission(request: api.Request) -> api.Response[None]:
    """Remove a finished mission."""
    service.delete_mission(api.mission_id(request), api.namespace(request))
    return api.respond_nothing()


handler = api.handler(delete_mission)
