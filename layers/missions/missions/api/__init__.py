"""What a handler reads from a request, and how it answers."""

from missions.api.handler import handler
from missions.api.requests import (
    Request,
    body,
    body_of,
    body_or_nothing,
    if_match,
    known_versions,
    mission_id,
    namespace,
    query,
    write,
)
from missions.api.responses import Response, respond, respond_nothing, respond_unless_known, respond_view

__all__ = [
    "Request",
    "Response",
    "body",
    "body_of",
    "body_or_nothing",
    "handler",
    "if_match",
    "known_versions",
    "mission_id",
    "namespace",
    "query",
    "respond",
    "respond_nothing",
    "respond_unless_known",
    "respond_view",
    "write",
]
