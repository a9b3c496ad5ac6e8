"""What a request holds: its body, path, query and headers, checked. Whatever is wrong is an InvalidRequest."""

import base64
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from missions import runtime
from missions.api import entity_tags, strict_json
from missions.domain.errors import Forbidden, InvalidRequest
from missions.domain.fields import MAX_DEPTH, MissionId
from missions.domain.models import FieldError
from missions.domain.writes import DEFAULT, Write
from missions.log import log_context

Model = TypeVar("Model", bound=BaseModel)
Place = Literal["body", "query", "path"]

MAX_BODY = 256 * 1024  # bytes
MAX_ACTOR = 256  # characters of it that are kept
MAX_ERRORS = 100  # told of one request
NAMESPACE = re.compile(r"[A-Za-z0-9._~-]{1,128}")
WORDS = {  # in place of pydantic's, which are about its models; by the type of the error, with its context
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "recursion_loop": f"is nested deeper than {MAX_DEPTH} levels; flatten it",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "too_long": "must have at most {max_length} elements",
    "too_short": "must not be empty",
    "extra_forbidden": "unknown field",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_type": "must be a string",
}
_MISSION_ID: TypeAdapter[str] = TypeAdapter(MissionId)


class Request:
    """A request as API Gateway gives it to Lambda (payload format 2.0). A payload of another form raises an error."""

    def __init__(self, event: dict[str, Any], context: Any) -> None:
        self.event = event
        self.context = context
        # API Gateway gives header names in lower case, sam local does not
        self.headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
        gateway = event["requestContext"]
        self.id = str(gateway["requestId"])
        self.route = str(gateway["routeKey"])
        self.authorizer: dict[str, Any] = gateway.get("authorizer") or {}


def body(request: Request, kind: type[Model]) -> Model:
    """The body as this model."""
    value = _json(request)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        _invalid(error, "body")


def body_or_nothing(request: Request, kind: type[Model]) -> Model:
    """The body as this model; an empty body is one without members."""
    return body(request, kind) if request.event.get("body") else kind()


def body_of(request: Request, kind: TypeAdapter[Any]) -> Any:
    """The body as one of several models, told apart by a discriminator."""
    value = _json(request)
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        _invalid(error, "body", skip=1)  # the tag of the model


def query(request: Request, kind: type[Model]) -> Model:
    """The query string as this model."""
    try:
        return kind.model_validate(request.event.get("queryStringParameters") or {})
    except ValidationError as error:
        _invalid(error, "query")


def mission_id(request: Request) -> str:
    """The mission's id in the path."""
    value = (request.event.get("pathParameters") or {}).get("mission_id", "")
    try:
        checked = _MISSION_ID.validate_python(value)
    except ValidationError as error:
        _invalid(error, "path", parent="/mission_id")
    log_context.append_keys(mission_id=checked)
    return checked


def namespace(request: Request) -> str:
    """The caller's namespace: what the configured claim of its token says; `default` where none is configured.

    An operator who invokes the function directly may name one in the event, as the canary does. API Gateway makes its
    events itself and names none there. Raises Forbidden.
    """
    claim = runtime.current.settings.namespace_claim
    value: Any = DEFAULT
    source = "The event"
    if "namespace" in request.event:
        value = request.event["namespace"]
    elif claim:
        value = ((request.authorizer.get("jwt") or {}).get("claims") or {}).get(claim)
        source = f"The claim '{claim}' of the token"
    if not isinstance(value, str) or not NAMESPACE.fullmatch(value):
        raise Forbidden(f"{source} must name a namespace: 1 to 128 characters of A-Z a-z 0-9 . _ ~ -")
    log_context.append_keys(namespace=value)
    return value


def if_match(request: Request) -> Set[int] | None:
    """The versions that If-Match names; None for any."""
    return entity_tags.matching_versions(request.headers.get("if-match"))


def known_versions(request: Request) -> list[str]:
    """The versions of what is shown of many missions that If-None-Match names."""
    return entity_tags.named(request.headers.get("if-none-match", ""))


def write(request: Request, versions: Set[int] | None = None) -> Write:
    """Who writes, and the caller's Idempotency-Key; `versions` are those that a change of status may start from."""
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            422, "invalid_idempotency_key", "Idempotency-Key takes 1 to 255 printable ASCII characters."
        )
    # API Gateway may invoke twice for one request, but sam local gives all requests one id.
    local = runtime.current.settings.aws_sam_local
    return Write(
        namespace=namespace(request),
        attempt=request.context.aws_request_id if local else request.id,
        key=key,
        versions=versions,
        actor=actor(request),
    )


def actor(request: Request) -> str | None:
    """The caller: the principal of IAM, or the subject of the token; None where nobody signs in."""
    signed, token = request.authorizer.get("iam") or {}, (request.authorizer.get("jwt") or {}).get("claims") or {}
    found = signed.get("userArn") or token.get("sub")
    return str(found)[:MAX_ACTOR] if found else None


def _json(request: Request) -> Any:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise InvalidRequest(415, "unsupported_media_type", f"The body is {kind}; send application/json.")
    try:
        text = request.event.get("body") or ""
        if request.event.get("isBase64Encoded"):
            text = base64.b64decode(text).decode()
    except ValueError:
        raise InvalidRequest(400, "malformed_body", "The body is not UTF-8 text; send JSON in UTF-8.") from None
    if len(text) > MAX_BODY or len(text.encode(errors="surrogatepass")) > MAX_BODY:
        raise InvalidRequest(413, "body_too_large", f"The body is larger than {MAX_BODY} bytes.")
    return strict_json.loads(text)


def _invalid(error: ValidationError, place: Place, parent: str = "", skip: int = 0) -> NoReturn:
    errors = [
        FieldError(
            place=place,
            pointer=parent + _pointer(each["loc"][skip:]),
            detail="unknown parameter" if place == "query" and each["type"] == "extra_forbidden" else _words(each),
        )
        for each in error.errors(include_url=False, include_input=False)[:MAX_ERRORS]
    ]
    detail = "; ".join(f"{each.pointer.removeprefix('/') or place}: {each.detail}" for each in errors[:5])
    raise InvalidRequest(422, "validation_failed", detail, errors=errors) from error


def _words(error: Mapping[str, Any]) -> str:
    if error["type"] in WORDS:
        return WORDS[error["type"]].format_map(error.get("ctx", {}))
    return str(error["msg"]).removeprefix("Value error, ")


def _pointer(location: Sequence[str | int]) -> str:
    if "data" in location:  # what is below names pydantic's own steps, too
        location = location[: location.index("data") + 1]
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
