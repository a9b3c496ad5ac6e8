"""make documents: OpenAPI, from the handlers and models, the events' documents, the synchronous client, the costs."""

import ast
import importlib
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_type_hints

from missions.domain.fields import MissionId, Moment
from missions.domain.models import Problem
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from local import event_documents, examples, unasync
from local.api_gateway import MESSAGES, Route, routes
from local.costs import document as costs
from local.event_documents import VERSION
from local.processes import ROOT
from local.stack import PORTS

# Each with its tag
OPERATIONS = {
    "create_mission": "Missions",
    "list_missions": "Missions",
    "get_mission": "Missions",
    "delete_mission": "Missions",
    "update_status": "Missions",
    "append_log_entry": "Log",
    "get_log": "Log",
    "claim_mission": "Workers",
    "heartbeat": "Workers",
    "retry_mission": "Missions",
    "cancel_missions": "Missions",
    "get_stats": "Statistics",
    "get_history": "Statistics",
    "health": "Service",
}
TAGS = {
    "Missions": "Create missions, read and list them, and change what becomes of them",
    "Workers": "Take missions that wait, and show signs of life",
    "Log": "Write and read what happens in a mission",
    "Statistics": "Counts of a namespace's missions, now and over time",
    "Service": "The service itself",
}
OPENAPI = Path("functions/get_openapi/openapi.json")
REF = "#/components/schemas/"
EXAMPLE = "#/components/examples/"
# A document that the API itself gave describes the server that gave it; a copy of it, one of the others
SERVERS: list[dict[str, Any]] = [
    {"url": "/", "description": "The server that this document is from"},
    {
        "url": "https://{api}.execute-api.{region}.amazonaws.com",
        "description": "In AWS: the ApiUrl that the stack tells, with the id of the API and the region",
        "variables": {"api": {"default": "a1b2c3d4e5"}, "region": {"default": "eu-central-1"}},
    },
    {"url": f"http://127.0.0.1:{PORTS['PORT']}", "description": "On this machine: make run"},
]
SECURITY: dict[str, Any] = {
    "IAM": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "x-amazon-apigateway-authtype": "awsSigv4",
        "description": "A signature of AWS (Signature Version 4) for execute-api, where JwtIssuer is empty.",
    },
    "JWT": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of JwtIssuer for JwtAudience, where these are set.",
    },
}

ERRORS = {
    400: "The body is not JSON",
    401: "The caller's token is missing or not valid",
    403: "The signature of the caller is missing or not valid; or its token names no namespace",
    404: "There is no such mission; or, in the form of API Gateway, no such path",
    409: "It conflicts with what is there",
    410: "The mission was removed, within the last 30 days",
    412: "If-Match names another version",
    413: "The body is too large",
    415: "The media type of the body is not JSON",
    422: "A field, a parameter or a header is wrong",
    429: "There are too many requests; repeat it later",
    500: "The service failed",
    503: "The store did not answer; repeat the request",
}
# The codes of what an operation may refuse, by status; those of 409 by operation, those of 422 by what it reads
CODES = {
    400: ("malformed_json",),
    403: ("forbidden",),
    404: ("mission_not_found",),
    410: ("mission_removed",),
    412: ("stale_version",),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
    503: ("store_unavailable",),
}
CONFLICTS = {
    "create_mission": ("mission_exists",),
    "update_status": ("transition_refused",),
    "retry_mission": ("retry_refused", "already_retried"),
    "delete_mission": ("mission_open",),
}
INVALID = {
    "body": ("validation_failed_in_body",),
    "body_of": ("validation_failed_in_body",),
    "body_or_nothing": ("validation_failed_in_body",),
    "query": ("validation_failed_in_query",),
    "mission_id": ("validation_failed_in_path",),
    "if_match": ("invalid_if_match",),
    "write": ("invalid_idempotency_key", "idempotency_key_reused"),
}
UNKNOWN = ". The outcome is unknown, so repeat it with the same Idempotency-Key"
GATEWAY = {401, 403, 404, 413, 429, 500, 503}  # what API Gateway answers by itself, too
KEY = {
    "name": "Idempotency-Key",
    "description": "Repeats of this request with this key take effect once. Kept for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "deploy-42/start",
}
IF_MATCH = {
    "name": "If-Match",
    "description": "The ETags of which the mission must have one; * for any.",
    "schema": {"type": "string"},
    "example": '"1"',
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "description": "The ETags that the caller has.",
    "schema": {"type": "string"},
    "example": '"1-1703001234567000"',
}
HEADERS = {
    "ETag": {"description": "The version of what is shown, where it has one", "schema": {"type": "string"}},
    "Idempotency-Replayed": {"description": "The answer is the first one's", "schema": {"const": "true"}},
    "Retry-After": {"description": "Seconds to wait; API Gateway itself does not say it", "schema": {"type": "string"}},
}
# Schemas that no model has. A generator that reads one media type of an answer alone reads the first one: AnyError
GATEWAY_ERROR: dict[str, Any] = {
    "description": "An error of API Gateway, which stands before the service.",
    "type": "object",
    "properties": {"message": {"type": "string"}},
    "required": ["message"],
}
ANY_ERROR: dict[str, Any] = {
    "description": "An error: of the service, or of API Gateway.",
    "anyOf": [{"$ref": f"{REF}Problem"}, {"$ref": f"{REF}GatewayError"}],
}
MOMENT = TypeAdapter(Moment).json_schema()


class Schemas(GenerateJsonSchema):
    """Schemas of bodies as generators of clients take them.

    They have no titles of fields, by which generators name classes, and no defaults: openapi-typescript makes a member
    that has one a required one, and openapi-python-client drops a model that has {} as one.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        made = super().default_schema(schema)
        made.pop("default", None)
        return made


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of all functions."""
    schemas: dict[str, Any] = {"AnyError": ANY_ERROR, "GatewayError": GATEWAY_ERROR}
    schema(Problem, "serialization", schemas)
    paths: dict[str, Any] = {}
    documented = {route.function: route for route in routes()}
    for name in OPERATIONS:
        module, route = importlib.import_module(f"functions.{name}.app"), documented[name]
        paths.setdefault(route.path, {})[route.method.lower()] = operation(module, name, route, schemas)
    words = "Unix seconds, or ISO 8601 with a time zone."
    moment = {"Moment": {"description": words, "examples": [1703001234.567], **MOMENT}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Missions", "version": VERSION, "description": "Tracks missions through their life."},
        "servers": SERVERS,
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": with_moments(paths),
        "components": {
            "schemas": dict(sorted({**with_moments(schemas), **moment}.items())),
            "examples": {name: {"value": value} for name, value in examples.problems().items()},
            "securitySchemes": SECURITY,
        },
    }


def with_moments(node: Any) -> Any:
    """The same schemas, in which a moment is a schema with a name."""
    match node:
        case dict():
            return {"$ref": f"{REF}Moment"} if node == MOMENT else {k: with_moments(v) for k, v in node.items()}
        case list():
            return [with_moments(each) for each in node]
    return node


def operation(module: ModuleType, name: str, route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    """One operation, from its handler: what it reads, what it answers, and each error that it may give."""
    reads = reads_of(module)
    in_path = "{mission_id}" in route.path
    parameters: list[dict[str, Any]] = []
    if in_path:
        own = TypeAdapter(MissionId).json_schema()
        del own["not"]  # of a path those are other routes
        parameters.append({"name": "mission_id", "in": "path", "required": True, "schema": own, "example": "deploy-42"})
    if "query" in reads:
        asked = TypeAdapter(reads["query"]).json_schema(ref_template=REF + "{model}")
        schemas |= asked.get("$defs", {})
        parameters += [_query(*member) for member in asked["properties"].items()]
    body = next((reads[call] for call in ("body", "body_or_nothing", "body_of") if call in reads), None)
    headers = {
        "write": KEY,
        "if_match": IF_MATCH,
        "respond_unless_known": IF_NONE_MATCH,
        "respond_view": IF_NONE_MATCH,
    }
    parameters += [{"in": "header", "required": False, **header} for call, header in headers.items() if call in reads]
    function = getattr(module, name)
    made: dict[str, Any] = {
        "tags": [OPERATIONS[name]],
        "summary": inspect.getdoc(function),
        "operationId": name,
        # of either, as the template is deployed; sign-in has no scopes here
        "security": [] if route.scopes is None else [{kind: list(route.scopes)} for kind in SECURITY],
    }
    if parameters:
        made["parameters"] = parameters
    if body:
        sent = schema(body, "validation", schemas)
        content = {"schema": sent, **shown(sent, schemas)}
        required = "body_or_nothing" not in reads
        made["requestBody"] = {"required": required, "content": {"application/json": content}}

    (answer,) = get_args(get_type_hints(function)["return"])
    success = schema(answer, "serialization", schemas) if answer is not NoneType else {}
    own_answers: dict[int, str] = getattr(module, "ANSWERS", {200: "Done"})
    errors = {429, 500, 503, *(status for status in own_answers if status >= 400)}
    errors |= {400, 413, 415, 422} if body else {422} if in_path or "query" in reads else set()
    errors |= {404, 410} if in_path and name != "delete_mission" else {404} if in_path else set()
    errors |= {401, 403} if route.scopes is not None else set()
    codes = CODES | {
        409: CONFLICTS.get(name, ()),
        422: tuple(code for call in reads for code in INVALID.get(call, ())),
        500: ("broken_record",) if in_path else (),
    }
    if any(each["name"] == "cursor" for each in parameters):
        codes[422] += ("invalid_cursor",)
    answers = {status: refusal(status, codes.get(status, ())) for status in errors}
    answers |= {status: answered(name, status, success, reads, schemas) for status in own_answers if status < 400}
    made["responses"] = {
        str(status): {"description": own_answers.get(status) or ERRORS[status], **answers[status]}
        for status in sorted(answers)
    }
    if "write" in reads:
        made["responses"]["503"]["description"] += UNKNOWN
    return made


def answered(
    name: str, status: int, success: dict[str, Any], reads: dict[str, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    """What an operation answers when nothing is wrong: its body, if it has one, and its headers."""
    answer: dict[str, Any] = {}
    if status < 300 and status != 204:
        own = examples.missions().get(name)
        content = {"schema": success, **({"example": own} if own else shown(success, schemas))}
        answer["content"] = {"application/json": content}
    tagged = success.get("$ref") == f"{REF}Mission" or "respond_view" in reads
    headers = ["ETag"] if tagged and status != 204 else []
    headers += ["Idempotency-Replayed"] if "write" in reads and status < 300 and status != 204 else []
    if headers:
        answer["headers"] = {header: HEADERS[header] for header in headers}
    return answer


def refusal(status: int, codes: tuple[str, ...]) -> dict[str, Any]:
    """What an operation answers with this status: with one of these codes, or in the form of API Gateway."""
    content: dict[str, Any] = {}
    if status in GATEWAY:
        form = f"{REF}AnyError" if codes else f"{REF}GatewayError"
        content["application/json"] = {"schema": {"$ref": form}, "example": {"message": MESSAGES[status]}}
    if codes:
        shown = {code: {"$ref": EXAMPLE + code} for code in codes}
        content["application/problem+json"] = {"schema": {"$ref": f"{REF}Problem"}, "examples": shown}
    headers = {"headers": {"Retry-After": HEADERS["Retry-After"]}} if status == 503 else {}
    return {"content": content, **headers}


def reads_of(module: ModuleType) -> dict[str, Any]:
    """The calls of a handler to the api package by name, each with the model that it names, if it names one."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    found: dict[str, Any] = {}
    for call in calls:
        match call.func:
            case ast.Attribute(value=ast.Name(id="api"), attr=name):
                second = call.args[1] if len(call.args) > 1 else None
                found[name] = getattr(module, second.id, None) if isinstance(second, ast.Name) else None
    return found


def schema(kind: Any, mode: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model, or of one of several, with all that it refers to put among the schemas."""
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    made = adapter.json_schema(mode=mode, ref_template=REF + "{model}", schema_generator=Schemas)
    schemas |= made.pop("$defs", {})
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        schemas[kind.__name__] = made
        return {"$ref": f"{REF}{kind.__name__}"}
    return dict(made)


def shown(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The example of a schema; of one that is one of several, an example of each, by its name."""
    kinds = [each["$ref"] for each in schema.get("oneOf") or schema.get("anyOf") or ()]
    if kinds:
        return {"examples": {kind.removeprefix(REF): {"value": example({"$ref": kind}, schemas)} for kind in kinds}}
    return {"example": example(schema, schemas)}


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example of a schema: its own, or one put together from those of its parts."""
    match schema:
        case {"examples": [first, *_]}:
            return first
        case {"$ref": reference}:
            return example(schemas[reference.removeprefix(REF)], schemas)
        case {"anyOf": kinds}:
            return None if {"type": "null"} in kinds else example(kinds[0], schemas)
        case {"type": "array", "items": items}:
            return [example(items, schemas)]
        case {"properties": members}:
            return {name: example(member, schemas) for name, member in members.items()}
    return schema.get("const", "deploy-42")


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if key != "title" and value != []}
    if "anyOf" in schema:  # a parameter that is not given is null in the model
        kinds = [each for each in schema["anyOf"] if each != {"type": "null"}]
        schema = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    parameter = {"in": "query", "name": name, "required": False, "schema": schema}
    if schema.get("type") == "array":
        schema["minItems"] = 1
        parameter |= {"style": "form", "explode": False}
    return parameter


def documents() -> dict[Path, str]:
    """Each document's file and text."""
    made = {OPENAPI: openapi(), **event_documents.documents()}
    texts = {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in made.items()}
    return {**texts, costs.DOCUMENT: costs.document(), unasync.TARGET.relative_to(ROOT): unasync.synchronous()}


def main() -> int:
    """Write the documents."""
    for path, text in documents().items():
        path.write_text(text)
        print(f"{path}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
