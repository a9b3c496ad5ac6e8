"""make documents: the OpenAPI document, from the handlers and models themselves, and those of the events."""

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

from aws_lambda_powertools.event_handler.openapi.merge import OpenAPIMerge
from aws_lambda_powertools.event_handler.openapi.params import Query
from missions.fields import INT64, NO_NUL, MissionId
from missions.models import LogQuery, MissionQuery, Problem
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from local import event_documents
from local.event_documents import VERSION

OPERATIONS = (
    "create_mission",
    "list_missions",
    "get_mission",
    "update_status",
    "append_log_entry",
    "get_log",
    "get_stats",
    "health",
)
OPENAPI = Path("functions/get_openapi/openapi.json")
REF = "#/components/schemas/"

ERRORS = {
    400: "The body is no JSON",
    403: "The caller's token names no namespace",
    404: "There is no such mission; or, as API Gateway says it, no such path",
    409: "It conflicts with what is there",
    412: "If-Match names another version",
    413: "The body is too large",
    415: "The body is no JSON, by its media type",
    422: "A field, a parameter or a header is wrong",
    503: "The store did not answer; the outcome of a write is unknown",
}
KEY = {
    "name": "Idempotency-Key",
    "description": "Repeats of this request with this key take effect once. Kept for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "deploy-42/start",
}
IF_MATCH = {
    "name": "If-Match",
    "description": "The ETag that the mission must have; * for any.",
    "schema": {"type": "string"},
    "example": '"1"',
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "description": "The ETags that the caller has.",
    "schema": {"type": "string"},
    "example": '"1"',
}
HEADERS = {
    "ETag": {"description": "The mission's version", "schema": {"type": "string"}},
    "Idempotency-Replayed": {"description": "The answer is the first one's", "schema": {"const": "true"}},
    "Retry-After": {"description": "Seconds to wait", "required": True, "schema": {"type": "string"}},
}
# What data may hold (models._json_object).
JSON_VALUE: dict[str, Any] = {
    "description": "JSON that EventBridge takes, too: integers of 64 bits, no U+0000, 64 levels.",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "integer", "minimum": INT64.start, "maximum": INT64.stop - 1},
        {"type": "number"},
        {"type": "string", "pattern": NO_NUL},
        {"type": "array", "items": {"$ref": f"{REF}JsonValue"}},
        {
            "type": "object",
            "propertyNames": {"pattern": NO_NUL},
            "additionalProperties": {"$ref": f"{REF}JsonValue"},
        },
    ],
}


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document of all functions."""
    merge = OpenAPIMerge(title="Missions", version=VERSION, description="Tracks missions through their life.")
    own: dict[tuple[str, str], dict[int, str]] = {}
    for name in OPERATIONS:
        app = importlib.import_module(f"functions.{name}.app").app
        (route,) = app._static_routes + app._dynamic_routes
        own[route.openapi_path, route.method.lower()] = route.func.documented
        hints = route.func.__wrapped__.__annotations__
        if model := hints.get("query"):  # said only here: the import of Query would slow down the functions
            hints["query"] = Annotated[model, Query()]
        hints |= {
            name: str for name in hints if name == "mission_id"
        }  # powertools takes no other; `describe` gives its limits
        merge.add_schema(app.get_openapi_schema())
    document = merge.get_openapi_schema()
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        schemas.pop(unused, None)
    _, more = models_json_schema(
        [(MissionQuery, "validation"), (LogQuery, "validation"), (Problem, "serialization")],
        ref_template=REF + "{model}",
    )
    queries = {name: more["$defs"].pop(name)["properties"] for name in ("MissionQuery", "LogQuery")}
    schemas |= more["$defs"] | {"JsonValue": JSON_VALUE}
    for name in queries:
        schemas.pop(name, None)
    for (path, method), statuses in own.items():
        describe(document["paths"][path][method], statuses, queries, schemas)
    return json.loads(json.dumps(document, default=str))  # type: ignore[no-any-return]


def describe(operation: dict[str, Any], own: dict[int, str], queries: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Complete one operation: query parameters with their limits, headers, and each answer it may give."""
    parameters = [each for each in operation.get("parameters", []) if _place(each) == "path"]
    for each in parameters:
        schema = TypeAdapter(MissionId).json_schema()
        del schema["not"]  # of a path those are other routes
        each |= {"in": "path", "example": "deploy-42", "schema": schema}
    asked = {"list_missions": "MissionQuery", "get_log": "LogQuery"}.get(operation["operationId"], "")
    parameters += [_query(name, schema) for name, schema in queries.get(asked, {}).items()]
    headers = {"get_mission": [IF_NONE_MATCH], "update_status": [KEY, IF_MATCH]}
    sends = "requestBody" in operation
    for header in headers.get(operation["operationId"], [KEY] if sends else []):
        parameters.append({"in": "header", "required": False, **header})
    if parameters:
        operation["parameters"] = parameters

    errors = {503, *(status for status in own if status >= 400)}
    errors |= {400, 413, 415, 422} if sends else {422} if parameters else set()
    errors |= {404} if "path" in map(_place, parameters) else set()
    errors |= set() if operation["operationId"] == "health" else {403}
    if sends:
        (content,) = operation["requestBody"]["content"].values()
        content["example"] = example(content["schema"], schemas)
    (done,) = operation["responses"].values()
    success = done["content"]["application/json"]["schema"]
    shows_mission = success.get("$ref", "").endswith("/Mission")
    operation["responses"].clear()
    for status in sorted({*own, *errors}):
        answer: dict[str, Any] = {"description": own.get(status) or ERRORS[status]}
        if status < 300:
            answer["content"] = {"application/json": {"schema": success, "example": example(success, schemas)}}
        elif status >= 400:
            answer["content"] = {"application/problem+json": {"schema": {"$ref": f"{REF}Problem"}}}
        if status == 404:
            message = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
            answer["content"]["application/json"] = {"schema": message}
        shown = (["ETag"] if shows_mission and status < 400 else []) + (
            ["Idempotency-Replayed"] if sends and status < 300 else []
        )
        shown += ["Retry-After"] if status == 503 else []
        if shown:
            answer["headers"] = {name: HEADERS[name] for name in shown}
        operation["responses"][str(status)] = answer


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


def _place(parameter: dict[str, Any]) -> str:
    return str(getattr(parameter["in"], "value", parameter["in"]))


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if key != "title" and value != []}
    if "anyOf" in schema:  # a parameter that is not given is null in the model
        schema = next(each for each in schema["anyOf"] if each != {"type": "null"})
    parameter = {"in": "query", "name": name, "required": False, "schema": schema}
    if schema.get("type") == "array":
        schema["minItems"] = 1
        parameter |= {"style": "form", "explode": False}
    return parameter


def documents() -> dict[Path, str]:
    """Each document's file and text."""
    made = {OPENAPI: openapi(), **event_documents.documents()}
    return {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in made.items()}


def main() -> int:
    """Write the documents."""
    for path, text in documents().items():
        path.write_text(text)
        print(f"{path}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
