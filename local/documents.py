"""make documents: OpenAPI, from the handlers and models themselves, the events' documents, and the table of costs."""

import ast
import importlib
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_type_hints

from missions.domain.fields import INT64, NO_NUL, MissionId
from missions.domain.models import Problem
from pydantic import BaseModel, TypeAdapter

from local import event_documents
from local.api_gateway import Route, routes
from local.costs import document as costs
from local.event_documents import VERSION

OPERATIONS = (
    "create_mission",
    "list_missions",
    "get_mission",
    "delete_mission",
    "update_status",
    "append_log_entry",
    "get_log",
    "claim_mission",
    "heartbeat",
    "retry_mission",
    "cancel_missions",
    "get_stats",
    "get_history",
    "health",
)
OPENAPI = Path("functions/get_openapi/openapi.json")
REF = "#/components/schemas/"

ERRORS = {
    400: "The body is not JSON",
    403: "The caller's token names no namespace",
    404: "There is no such mission; or, in the form of API Gateway, no such path",
    409: "It conflicts with what is there",
    410: "The mission was removed, within the last 30 days",
    412: "If-Match names another version",
    413: "The body is too large",
    415: "The media type of the body is not JSON",
    422: "A field, a parameter or a header is wrong",
    503: "The store did not answer; repeat the request",
}
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
    "Retry-After": {"description": "Seconds to wait", "required": True, "schema": {"type": "string"}},
}
# What data may hold (fields.MissionData)
JSON_VALUE: dict[str, Any] = {
    "description": "JSON that EventBridge takes, too: integers of 64 bits, no U+0000, 64 levels.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "integer", "minimum": INT64.start, "maximum": INT64.stop - 1},
        {"type": "number"},
        {"type": "string", "pattern": NO_NUL},
        {"type": "array", "items": {"$ref": f"{REF}JsonValue"}},
        {"type": "object", "additionalProperties": {"$ref": f"{REF}JsonValue"}},
    ],
}


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of all functions."""
    schemas: dict[str, Any] = {}
    schema(Problem, "serialization", schemas)
    paths: dict[str, Any] = {}
    documented = {route.function: route for route in routes()}
    for name in OPERATIONS:
        module, route = importlib.import_module(f"functions.{name}.app"), documented[name]
        paths.setdefault(route.path, {})[route.method.lower()] = operation(module, name, route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Missions", "version": VERSION, "description": "Tracks missions through their life."},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": named_without_nul(dict(sorted(schemas.items())))},
    }


def named_without_nul(node: Any) -> Any:
    """The same schemas; an object of any JSON has no name with U+0000 in it."""
    match node:
        case dict():
            made = {name: named_without_nul(value) for name, value in node.items()}
            if made.get("additionalProperties") == {"$ref": f"{REF}JsonValue"}:
                made["propertyNames"] = {"pattern": NO_NUL}
            return made
        case list():
            return [named_without_nul(each) for each in node]
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
    made: dict[str, Any] = {"summary": inspect.getdoc(function), "operationId": name}
    if parameters:
        made["parameters"] = parameters
    if body:
        sent = schema(body, "validation", schemas)
        content = {"schema": sent, "example": example(sent, schemas)}
        required = "body_or_nothing" not in reads
        made["requestBody"] = {"required": required, "content": {"application/json": content}}

    (answer,) = get_args(get_type_hints(function)["return"])
    success = schema(answer, "serialization", schemas) if answer is not NoneType else {}
    own_answers: dict[int, str] = getattr(module, "ANSWERS", {200: "Done"})
    errors = {503, *(status for status in own_answers if status >= 400)}
    errors |= {400, 413, 415, 422} if body else {422} if in_path or "query" in reads else set()
    errors |= {404, 410} if in_path and name != "delete_mission" else {404} if in_path else set()
    errors |= {403} if "namespace" in reads or "write" in reads else set()
    made["responses"] = {
        str(status): response(status, own_answers, success, reads, schemas)
        for status in sorted({*own_answers, *errors})
    }
    return made


def response(
    status: int, own: dict[int, str], success: dict[str, Any], reads: dict[str, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    """What an operation may answer with this status."""
    answer: dict[str, Any] = {"description": own.get(status) or ERRORS[status]}
    if status == 503 and "write" in reads:
        answer["description"] += ". The outcome is unknown, so repeat it with the same Idempotency-Key"
    if status < 300 and status != 204:
        answer["content"] = {"application/json": {"schema": success, "example": example(success, schemas)}}
    elif status >= 400:
        answer["content"] = {"application/problem+json": {"schema": {"$ref": f"{REF}Problem"}}}
    if status == 404:
        message = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
        answer["content"]["application/json"] = {"schema": message}
    tagged = success.get("$ref") == f"{REF}Mission" or "respond_view" in reads
    shown = ["ETag"] if tagged and status < 400 and status != 204 else []
    shown += ["Idempotency-Replayed"] if "write" in reads and status < 300 and status != 204 else []
    shown += ["Retry-After"] if status == 503 else []
    if shown:
        answer["headers"] = {name: HEADERS[name] for name in shown}
    return answer


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
    made = adapter.json_schema(mode=mode, ref_template=REF + "{model}")
    schemas |= made.pop("$defs", {}) | {"JsonValue": JSON_VALUE}  # of which pydantic says nothing
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        schemas[kind.__name__] = made
        return {"$ref": f"{REF}{kind.__name__}"}
    return dict(made)


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """An example of a schema: its own, or one put together from those of its parts."""
    match schema:
        case {"examples": [first, *_]}:
            return first
        case {"$ref": reference}:
            return example(schemas[reference.removeprefix(REF)], schemas)
        case {"oneOf": [first, *_]}:
            return example(first, schemas)
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
    return {**texts, costs.DOCUMENT: costs.document()}


def main() -> int:
    """Write the documents."""
    for path, text in documents().items():
        path.write_text(text)
        print(f"{path}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
