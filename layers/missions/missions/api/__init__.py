"""What a handler reads from a request, and how it answers."""

from missions.api.handler import handler
from missions.api.requests import Request, body, body_of, if_match, mission_id, namespace, query, write
from missions.api.responses import Response, respond, respond_unless_known

__all__ = [
    "Request",
    "Response",
    "body",
    "body_of",
    "handler",
    "if_match",
    "mission_id",
    "namespace",
    "query",
    "respond",
    "respond_unless_known",
    "write",
]
