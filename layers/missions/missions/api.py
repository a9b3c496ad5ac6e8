"""The HTTP side that every function starts from: parameters in, answers and errors out (RFC 9457), logging.

A function registers its one operation and is left with the call that the specification names:

    app = api.resolver()

    @api.operation(app, "POST", "/api/missions", status=201)
    def create_mission(mission: MissionCreate) -> Mission:
        ...

    handler = api.handler(app)
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_type_hints

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler import Response as Response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from pydantic import BaseModel, TypeAdapter, ValidationError

from missions import strict_json
from missions.emitter import extension, logger
from missions.errors import Forbidden, InvalidRequest, MissionsError
from missions.fields import MissionId
from missions.models import FieldError, Mission, Problem
from missions.service import Write
from missions.settings import settings

Model = TypeVar("Model", bound=BaseModel)

MAX_BODY = 256 * 1024  # bytes
SAID = {  # in place of pydantic's words, which are about its models
    "missing": "is required",
    "extra_forbidden": "is not known here; remove it",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_type": "must be a string",
}
Place = Literal["body", "query", "path"]
PROBLEM = "application/problem+json"
NAMESPACE = re.compile(r"[A-Za-z0-9._~-]{1,128}")


_known: dict[str, Any] = {}  # of the request that is answered, for the log; a sandbox answers one at a time


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


def resolver() -> APIGatewayHttpResolver:
    """The resolver of one function; every MissionsError becomes its problem document."""
    app = _Resolver()
    app.exception_handler(MissionsError)(functools.partial(_problem, app))
    app.not_found(lambda _: _problem(app, InvalidRequest(404, "no_such_route", "There is nothing at this path.")))
    return app


def operation(
    app: APIGatewayHttpResolver,
    method: str,
    rule: str,
    *,
    status: int = 200,
    also: Mapping[int, str] = MappingProxyType({}),
) -> Callable[..., Any]:
    """Register a function as the operation of this route; `also` documents the statuses that are its own.

    Its parameters are filled by their types: `mission_id` from the path, a model from the body, and one whose name is
    `query` from the query string. It returns a model, answered with `status`, or a Response of its own.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(function)
        _build(hints.values())
        parameters = {name: get_args(kind) or (kind,) for name, kind in hints.items() if name != "return"}

        @functools.wraps(function)
        def call(**path: str) -> Response[Any]:
            arguments: dict[str, Any] = {}
            for name, kinds in parameters.items():
                match name:
                    case "mission_id":
                        arguments[name] = _mission_id(app)
                    case "query":
                        arguments[name] = _validated(kinds[0], app.current_event.query_string_parameters or {}, "query")
                    case _:
                        body = _body(app)
                        kind = kinds[0] if len(kinds) == 1 else _kind(kinds, body)
                        arguments[name] = _validated(kind, body, "body")
            answer = function(**arguments)
            return answer if isinstance(answer, Response) else respond(status, answer)

        call.documented = {status: "Done", **also}  # type: ignore[attr-defined]
        app.route(rule, method, summary=inspect.getdoc(function), operation_id=function.__name__)(call)
        return function

    return register


def handler(app: APIGatewayHttpResolver, *, publishes: bool = False) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The Lambda entry point; one that `publishes` does so after its response, where Lambda lets it.

    An unexpected error is logged by the resolver and re-raised, never swallowed.
    """
    running = extension() if publishes else None

    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        request = event.get("requestContext", {})
        _known.clear()
        _known.update(request_id=request.get("requestId"), route=request.get("routeKey"))
        try:
            answer = app.resolve(event, context)
            logger.info("Request", status=answer["statusCode"], **_known)
            return answer
        finally:
            if running:
                running.invocation_ended(context.aws_request_id)

    return handle


def namespace(app: APIGatewayHttpResolver) -> str:
    """The caller's namespace: what the configured claim of its token says, or `default` where none is configured."""
    claim = settings().namespace_claim
    if not claim:
        _known["namespace"] = "default"
        return "default"
    authorizer = app.current_event.raw_event.get("requestContext", {}).get("authorizer") or {}
    value = ((authorizer.get("jwt") or {}).get("claims") or {}).get(claim)
    if not isinstance(value, str) or not NAMESPACE.fullmatch(value):
        raise Forbidden(f"The token's claim '{claim}' names no namespace: 1 to 128 of A-Z a-z 0-9 . _ ~ - are needed.")
    _known["namespace"] = value
    return value


def if_match(app: APIGatewayHttpResolver) -> int | None:
    """The version that If-Match asks for; None for any."""
    value = app.current_event.headers.get("if-match", "*").strip()
    if value == "*":
        return None
    if not (tag := re.fullmatch(r'"(\d{1,15})"', value)):
        raise InvalidRequest(422, "invalid_if_match", 'If-Match takes the ETag of the mission, such as "3", or *.')
    return int(tag[1])


def write(app: APIGatewayHttpResolver) -> Write:
    """Who writes, and the token: the caller's Idempotency-Key, kept a day, else the request's id, kept a minute."""
    space = namespace(app)
    key = app.current_event.headers.get("idempotency-key")
    if key is None:
        # API Gateway may invoke twice for one request, but sam local gives all requests one id.
        local = settings().aws_sam_local
        request_id = app.lambda_context.aws_request_id if local else app.current_event.request_context.request_id
        return Write(space, token=f"request:{request_id}")
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidRequest(422, "invalid_idempotency_key", "Idempotency-Key takes 1 to 255 printable characters.")
    return Write(space, token=f"key:{key}", token_life=settings().idempotency_key_life)


def respond_unless_known(app: APIGatewayHttpResolver, mission: Mission) -> Response[Any]:
    """Answer with a mission, or 304 when If-None-Match says that the caller has this version."""
    response = respond(200, mission)
    known = app.current_event.headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    if "*" in tags or response.headers["ETag"] in tags:
        return Response(304, body="", headers={"ETag": response.headers["ETag"]})
    return response


def respond(status: int, answer: Model, write: Write | None = None) -> Response[Model]:
    """Answer with a model; a mission shows its version as ETag."""
    headers: dict[str, str | list[str]] = {}
    if isinstance(answer, Mission):
        _known["mission_id"] = answer.id
        headers["ETag"] = f'"{answer.version}"'
    if write and write.replayed:
        headers["Idempotency-Replayed"] = "true"
    body: Any = answer.model_dump_json()
    return Response(status, "application/json", body, headers)


def _problem(app: APIGatewayHttpResolver, error: MissionsError) -> Response[str]:
    if error.status >= 500:
        logger.error(error.code, exc_info=error, **_known)
    problem = Problem(
        type=f"urn:missions:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=app.current_event.request_context.request_id,
        **error.extra,
    )
    headers: dict[str, str | list[str]] = {"Retry-After": "1"} if error.status == 503 else {}
    return Response(error.status, PROBLEM, problem.model_dump_json(by_alias=True, exclude_unset=True), headers)


_MISSION_ID: TypeAdapter[str] = TypeAdapter(MissionId)


def _mission_id(app: APIGatewayHttpResolver) -> str:
    # The resolver matches the undecoded path; API Gateway decodes pathParameters.
    value = (app.current_event.path_parameters or {}).get("mission_id", "")
    try:
        mission_id = _MISSION_ID.validate_python(value)
    except ValidationError as error:
        _invalid(error, "path", "/mission_id")
    _known["mission_id"] = mission_id
    return mission_id


def _build(kinds: Iterable[Any]) -> None:
    """Build the models of these types now, while Lambda initialises, and not in the first request."""
    for kind in kinds:
        _build(get_args(kind))
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind.model_rebuild()


def _kind(kinds: Sequence[type[BaseModel]], body: Any) -> type[BaseModel]:
    """Of several models the last whose first field the body has, else the first."""
    named = [kind for kind in kinds if isinstance(body, dict) and next(iter(kind.model_fields)) in body]
    return named[-1] if named else kinds[0]


def _validated(model: type[BaseModel], value: Any, place: Place) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        _invalid(error, place)


def _invalid(error: ValidationError, place: Place, prefix: str = "") -> NoReturn:
    errors = [
        FieldError(
            place=place,
            pointer=prefix + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in each["loc"]),
            detail=SAID.get(each["type"]) or each["msg"].removeprefix("Value error, "),
        )
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    detail = "; ".join(f"{each.pointer.removeprefix('/') or place}: {each.detail}" for each in errors[:5])
    raise InvalidRequest(422, "validation_failed", detail, errors=errors) from error


def _body(app: APIGatewayHttpResolver) -> Any:
    event = app.current_event
    kind = event.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise InvalidRequest(415, "unsupported_media_type", f"The body is {kind}; send application/json.")
    try:
        body = event.decoded_body or ""
    except ValueError:
        raise InvalidRequest(400, "malformed_body", "The body is not UTF-8 text; send JSON in UTF-8.") from None
    if len(body) > MAX_BODY or len(body.encode(errors="surrogatepass")) > MAX_BODY:
        raise InvalidRequest(413, "body_too_large", f"The body is larger than {MAX_BODY} bytes.")
    return strict_json.loads(body)
