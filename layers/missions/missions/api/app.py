"""The two ends of a function: the app that its one route is registered with, and its Lambda entry point."""

import functools
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from pydantic import BaseModel

from missions import runtime
from missions.api.responses import problem
from missions.domain.errors import InvalidRequest, MissionsError
from missions.log import logger

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class _Event(APIGatewayProxyEventV2):
    """A request whose headers are read once; powertools makes a dictionary of them at every look, four a request."""

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        # API Gateway gives them in lower case, sam local does not
        return {name.lower(): value for name, value in (self.get("headers") or {}).items()}

    @property
    def resolved_headers_field(self) -> dict[str, Any]:
        return self.headers


class _Resolver(APIGatewayHttpResolver):
    def _to_proxy_event(self, event: dict[str, Any]) -> _Event:
        return _Event(event)


def app(*models: type[BaseModel]) -> APIGatewayHttpResolver:
    """The app of one function; every MissionsError becomes its problem document.

    `models` are those that it reads and answers with: they are built now, while Lambda initialises the sandbox, and not
    in its first request.
    """
    for model in models:
        model.model_rebuild()
    made = _Resolver()
    made.exception_handler(MissionsError)(functools.partial(problem, made))
    made.not_found(lambda _: problem(made, InvalidRequest(404, "no_such_route", "There is nothing at this path.")))
    return made


def handler(app: APIGatewayHttpResolver, *, publishes: bool = False) -> Handler:
    """The Lambda entry point; one that `publishes` does so after its response, where Lambda lets it.

    An unexpected error is logged by the resolver and raised again, never swallowed.
    """
    if publishes:
        runtime.current.publish_after_responses()

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            request = event.get("requestContext") or {}
            logger.clear_state()
            logger.append_keys(request_id=request.get("requestId"), route=request.get("routeKey"))
            answer = app.resolve(event, context)
            logger.info("Request", status=answer["statusCode"])
            return answer
        finally:
            runtime.current.handler_ended(getattr(context, "aws_request_id", ""))

    return handle
