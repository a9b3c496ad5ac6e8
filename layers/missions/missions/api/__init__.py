"""What a handler reads from a request, and how it answers."""

from aws_lambda_powertools.event_handler import Response

from missions.api.app import app, handler
from missions.api.requests import body, body_of, if_match, mission_id, namespace, query, write
from missions.api.responses import respond, respond_unless_known

__all__ = [
    "Response",
    "app",
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
