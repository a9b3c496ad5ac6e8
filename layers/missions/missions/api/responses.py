"""Answers: models as JSON, errors as problem documents (RFC 9457)."""

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from pydantic import BaseModel

from missions.api import entity_tags
from missions.domain.errors import MissionsError
from missions.domain.models import Mission, Problem
from missions.domain.writes import Result
from missions.log import logger

PROBLEM = "application/problem+json"


def respond(status: int, answer: BaseModel, result: Result[Any] | None = None) -> Response[Any]:
    """Answer with a model. A mission shows its version as ETag; the result of a write says whether it is a replay."""
    headers: dict[str, str | list[str]] = {}
    if isinstance(answer, Mission):
        logger.append_keys(mission_id=answer.id)
        headers["ETag"] = entity_tags.etag(answer.version)
    if result and result.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(status, "application/json", answer.model_dump_json(), headers)


def respond_unless_known(app: APIGatewayHttpResolver, mission: Mission) -> Response[Any]:
    """Answer with a mission, or 304 when If-None-Match says that the caller has this version."""
    tag = entity_tags.etag(mission.version)
    if entity_tags.known(app.current_event.headers.get("if-none-match", ""), tag):
        return Response(304, body="", headers={"ETag": tag})
    return respond(200, mission)


def problem(app: APIGatewayHttpResolver, error: MissionsError) -> Response[Any]:
    """Answer with what was refused, and why."""
    if error.status >= 500:
        logger.error(error.code, exc_info=error)
    document = Problem(
        type=f"urn:missions:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=app.current_event.request_context.request_id,
        **error.extra,
    )
    headers: dict[str, str | list[str]] = {"Retry-After": "1"} if error.status == 503 else {}
    return Response(error.status, PROBLEM, document.model_dump_json(by_alias=True, exclude_unset=True), headers)
