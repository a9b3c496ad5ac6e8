"""The Lambda entry point of a function.

A function has one route, and API Gateway has matched it before Lambda is invoked. So a resolver would have nothing to
do here, and cost each start and each request.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from missions import runtime
from missions.api.requests import Request
from missions.api.responses import Response, problem
from missions.domain.errors import MissionsError
from missions.log import log_context, logger


def handler(
    function: Callable[[Request], Response[Any]], *models: type[BaseModel], publishes: bool = False
) -> Callable[[dict[str, Any], Any], Response[Any]]:
    """The entry point that answers with what this function gives, or with the problem that it raises.

    `models` are those that the function reads and answers with: they are built now, while Lambda initialises the
    sandbox, and not in its first request. One that `publishes` does so after its response, where Lambda lets it.
    """
    for model in models:
        model.model_rebuild()
    runtime.current.prepare(publishes=publishes)

    def handle(event: dict[str, Any], context: Any) -> Response[Any]:
        try:
            log_context.clear_state()
            request = Request(event, context)
            log_context.append_keys(request_id=request.id, route=request.route)
            try:
                answer = function(request)
            except MissionsError as error:
                answer = problem(request, error)
            logger.info("Request", status=answer["statusCode"])
            return answer
        except Exception:
            logger.exception("Unexpected error")
            raise  # Lambda reports it, and API Gateway answers 500
        finally:
            runtime.current.handler_ended(getattr(context, "aws_request_id", ""))

    return handle
