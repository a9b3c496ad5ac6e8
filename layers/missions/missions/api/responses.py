"""Answers in API Gateway's format: models as JSON, errors as problem documents (RFC 9457)."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from missions.api import entity_tags
from missions.api.requests import Request
from missions.domain.errors import MissionsError
from missions.domain.models import Mission, Problem
from missions.domain.writes import Result, View
from missions.log import logger

T = TypeVar("T")


class Response(dict[str, Any], Generic[T]):
    """What Lambda gives to API Gateway (payload format 2.0). T is the model in its body, for the OpenAPI document."""

    def __init__(self, status: int, body: str, headers: dict[str, str]) -> None:
        super().__init__(statusCode=status, headers=headers, body=body, isBase64Encoded=False)


def respond(status: int, answer: BaseModel, result: Result[Any] | None = None) -> Response[Any]:
    """Answer with a model. A mission shows its version as ETag; the result of a write says whether it is a replay."""
    headers = {"Content-Type": "application/json"}
    if isinstance(answer, Mission):
        headers["ETag"] = entity_tags.etag(answer)
    if result and result.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(status, answer.model_dump_json(), headers)


def respond_unless_known(request: Request, mission: Mission) -> Response[Any]:
    """Answer with a mission, or 304 when If-None-Match says that the caller has this version."""
    known = request.header("if-none-match")
    if known and entity_tags.known(known, tag := entity_tags.etag(mission)):
        return Response(304, "", {"ETag": tag})
    return respond(200, mission)


def respond_nothing() -> Response[Any]:
    """Answer that it was done, or that there is nothing."""
    return Response(204, "", {})


def respond_view(view: View[Any], wrap: Callable[[Any], BaseModel] = lambda value: value) -> Response[Any]:
    """Answer with what is shown of many missions, or 304 when the caller has this version of it."""
    tag = {"ETag": entity_tags.quoted(view.version)} if view.version else {}
    if view.value is None:
        return Response(304, "", tag)
    answer = respond(200, wrap(view.value))
    answer["headers"] |= tag
    return answer


def problem(request: Request, error: MissionsError) -> Response[Any]:
    """Answer with what was refused, and why."""
    if error.status >= 500:
        logger.error(error.code, exc_info=error)
    document = Problem(
        type=f"urn:missions:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request.id,
        **error.extra,
    )
    headers = {"Content-Type": "application/problem+json"} | ({"Retry-After": "1"} if error.status == 503 else {})
    return Response(error.status, document.model_dump_json(by_alias=True, exclude_unset=True), headers)
