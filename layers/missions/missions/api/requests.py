"""What a request holds: its body, path, query and headers, checked. Whatever is wrong is an InvalidRequest."""

import base64
import os
from collections.abc import Sequence, Set
from typing import Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from missions import runtime
from missions.api import entity_tags, strict_json
from missions.domain import words
from missions.domain.errors import Forbidden, InvalidRequest
from missions.domain.fields import checked_id, checked_namespace
from missions.domain.models import FieldError
from missions.domain.writes import DEFAULT, Write
from missions.log import log_context

Model = TypeVar("Model", bound=BaseModel)
SAM_LOCAL = "AWS_SAM_LOCAL" in os.environ  # sam local sets it; where it differs from API Gateway stands below
Place = Literal["body", "query", "path"]

MAX_BODY = 256 * 1024  # bytes
MAX_ACTOR = 256  # characters of it that are kept
MAX_ERRORS = 100  # told of one request


class Request:
    """A request as API Gateway gives it to Lambda (payload format 2.0). A payload of another form raises an error."""

    def __init__(self, event: dict[str, Any], context: Any) -> None:
        self.event = event
        self.context = context
        gateway = event["requestContext"]
        self.id = str(gateway["requestId"])
        self.route = str(gateway["routeKey"])
        self.authorizer: dict[str, Any] = gateway.get("authorizer") or {}

    def header(self, name: str) -> str | None:
        """The header with this name, which is in lower case."""
        headers: dict[str, str] = self.event.get("headers") or {}
        if SAM_LOCAL:  # API Gateway gives the names in lower case
            headers = {each.lower(): value for each, value in headers.items()}
        return headers.get(name)


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
    try:
        checked = checked_id(str((request.event.get("pathParameters") or {}).get("mission_id", "")))
    except ValueError as error:
        raise InvalidRequest.of(FieldError(place="path", pointer="/mission_id", detail=str(error))) from None
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
    try:
        checked = checked_namespace(value)
    except ValueError as error:
        raise Forbidden(f"{source} {error}") from None
    log_context.append_keys(namespace=checked)
    return checked


def if_match(request: Request) -> Set[int] | None:
    """The versions that If-Match names; None for any."""
    return entity_tags.matching_versions(request.header("if-match"))


def known_versions(request: Request) -> list[str]:
    """The versions of what is shown of many missions that If-None-Match names."""
    return entity_tags.named(request.header("if-none-match") or "")


def write(request: Request, versions: Set[int] | None = None) -> Write:
    """Who writes, and the caller's Idempotency-Key; `versions` are those that a change of status may start from."""
    key = request.header("idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise InvalidRequest(
            422, "invalid_idempotency_key", "Idempotency-Key takes 1 to 255 printable ASCII characters."
        )
    # API Gateway may invoke twice for one request, but sam local gives all requests one id.
    return Write(
        namespace=namespace(request),
        attempt=request.context.aws_request_id if SAM_LOCAL else request.id,
        key=key,
        versions=versions,
        actor=actor(request),
    )


def actor(request: Request) -> str | None:
    """The caller: the principal of IAM, or the subject of the token; None where nobody signs in."""
    signed, token = request.authorizer.get("iam") or {}, (request.authorizer.get("jwt") or {}).get("claims") or {}
    found = signed.get("userArn") or token.get("sub")
    # An issuer may put half of a character into its token; it must not make every write of this caller fail.
    return str(found).encode(errors="backslashreplace").decode()[:MAX_ACTOR] if found else None


def _json(request: Request) -> Any:
    given = request.header("content-type")
    if given is not None:
        kind = given.partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise InvalidRequest(415, "unsupported_media_type", f"The body is {kind!a}; send application/json.")
    try:
        text = request.event.get("body") or ""
        if request.event.get("isBase64Encoded"):
            text = base64.b64decode(text).decode()
    except ValueError:
        raise InvalidRequest(400, "malformed_body", "The body is not UTF-8 text; send JSON in UTF-8.") from None
    if len(text) > MAX_BODY / 4 and len(text.encode(errors="surrogatepass")) > MAX_BODY:  # 4 bytes at most each
        raise InvalidRequest(413, "body_too_large", f"The body is larger than {MAX_BODY} bytes.")
    return strict_json.loads(text)


def _invalid(error: ValidationError, place: Place, skip: int = 0) -> NoReturn:
    errors = [
        FieldError(
            place=place,
            pointer=_pointer(each["loc"][skip:]),
            detail="unknown parameter" if place == "query" and each["type"] == "extra_forbidden" else words.of(each),
        )
        for each in error.errors(include_url=False, include_input=False)[:MAX_ERRORS]
    ]
    raise InvalidRequest.of(*errors) from error


def _pointer(location: Sequence[str | int]) -> str:
    if "data" in location:  # what is below names pydantic's own steps, too
        location = location[: location.index("data") + 1]
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
