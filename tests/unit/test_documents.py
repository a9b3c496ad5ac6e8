"""The committed documents are those that the models make, and say what they should."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from missions.domain.events import PAYLOADS
from missions.domain.models import Cancel
from openapi_spec_validator import validate
from pydantic import ValidationError

from local import documents, event_documents
from local.api_gateway import routes
from local.template import template

MADE = documents.documents()
OPENAPI = json.loads(MADE[documents.OPENAPI])
ASYNCAPI = json.loads(MADE[event_documents.ASYNCAPI])
OPERATIONS = [(path, method) for path, item in OPENAPI["paths"].items() for method in item]


@pytest.mark.parametrize("path", MADE, ids=str)
def test_a_committed_document_is_current(path: Path) -> None:
    assert path.read_text() == MADE[path], "run: make documents"


def test_the_openapi_document_is_valid() -> None:
    assert OPENAPI["openapi"].startswith("3.1")
    validate(OPENAPI)


def test_every_route_of_the_template_is_documented_but_those_of_files() -> None:
    described = {f"{method.upper()} {path}" for path, method in OPERATIONS}
    others = {"GET /api/missions/openapi.json", "GET /console", "GET /console/{proxy+}"}
    assert described | others == {route.key for route in routes()}


def resolved(node: Any) -> Any:
    """What a reference leads to, or the node itself."""
    if "$ref" not in node:
        return node
    target: Any = OPENAPI
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return target


def shown(content: Any) -> list[Any]:
    """The examples of a body."""
    assert ("example" in content) != ("examples" in content)
    several = content.get("examples", {"the only one": {"value": content.get("example")}})
    return [resolved(each)["value"] for each in several.values()]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_has_a_summary_and_its_errors(path: str, method: str) -> None:
    operation = OPENAPI["paths"][path][method]
    assert operation["summary"]
    assert ("content" in operation["responses"].get("204", {})) is False  # it says nothing
    errors = {status for status in operation["responses"] if status >= "4"}
    assert {"429", "500", "503"} <= errors
    assert ("400" in errors) == ("requestBody" in operation)
    assert ("404" in errors) == ("{mission_id}" in path)
    assert ("410" in errors) == ("{mission_id}" in path and method != "delete")  # what is removed twice is removed
    assert ("401" in errors) == ("403" in errors) == bool(operation["security"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_body_that_is_sent_or_answered_has_examples_that_are_valid(path: str, method: str) -> None:
    operation = OPENAPI["paths"][path][method]
    answers = {status: each.get("content", {}) for status, each in operation["responses"].items()}
    assert {status for status, content in answers.items() if not content} <= {"204", "304"}
    sent = operation.get("requestBody", {}).get("content", {})
    for content in (*sent.values(), *(each for answer in answers.values() for each in answer.values())):
        validator = Draft202012Validator(content["schema"] | {"components": OPENAPI["components"]})
        examples = shown(content)
        assert examples
        for each in examples:
            assert each
            validator.validate(each)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_error_that_is_shown_has_the_status_and_the_code_under_which_it_stands(path: str, method: str) -> None:
    for status, answer in OPENAPI["paths"][path][method]["responses"].items():
        problem = answer.get("content", {}).get("application/problem+json")
        if problem:
            assert {each["status"] for each in shown(problem)} == {int(status)}
            for name, each in problem["examples"].items():
                assert name.startswith(resolved(each)["value"]["code"])


def test_every_error_that_is_kept_is_one_that_an_operation_gives() -> None:
    text = json.dumps(OPENAPI["paths"])
    for name in OPENAPI["components"]["examples"]:
        assert f'"#/components/examples/{name}"' in text


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_has_the_name_of_its_function_a_tag_and_the_security_of_the_template(
    path: str, method: str
) -> None:
    operation = OPENAPI["paths"][path][method]
    (route,) = [each for each in routes() if each.key == f"{method.upper()} {path}"]
    assert operation["operationId"] == route.function
    assert len(operation["tags"]) == 1
    assert set(operation["tags"]) <= {each["name"] for each in OPENAPI["tags"]}
    schemes = OPENAPI["components"]["securitySchemes"]
    wanted = [] if route.scopes is None else [{name: list(route.scopes)} for name in schemes]
    assert operation["security"] == wanted


def test_the_ways_to_sign_in_are_those_of_the_template() -> None:
    _, _, signed = template()["Resources"]["Api"]["Properties"]["DefinitionBody"]["components"]["securitySchemes"][
        "caller"
    ]["Fn::If"]
    schemes = OPENAPI["components"]["securitySchemes"]
    assert set(schemes) == {"IAM", "JWT"}
    assert schemes["IAM"].items() >= signed.items()
    assert (schemes["JWT"]["type"], schemes["JWT"]["scheme"]) == ("http", "bearer")


def test_only_the_health_check_is_open() -> None:
    open_ones = [path for path, method in OPERATIONS if not OPENAPI["paths"][path][method]["security"]]
    assert open_ones == ["/api/missions/health"]


def test_the_first_server_is_the_one_that_gave_the_document() -> None:
    assert [each["url"] for each in OPENAPI["servers"]] == [
        "/",
        "https://{api}.execute-api.{region}.amazonaws.com",
        "http://127.0.0.1:3000",
    ]


def test_no_schema_refers_to_itself() -> None:
    schemas = OPENAPI["components"]["schemas"]

    def below(name: str, above: tuple[str, ...]) -> None:
        assert name not in above
        for other in re.findall('"#/components/schemas/([^"]+)"', json.dumps(schemas[name])):
            below(other, (*above, name))

    for name in schemas:
        below(name, ())


def test_no_member_of_a_body_has_a_default() -> None:
    """openapi-typescript would make it a member that must be sent."""
    assert '"default"' not in json.dumps(OPENAPI["components"]["schemas"])


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        ({"ids": ["a"]}, True),
        ({"ids": ["a"], "filter": None, "cursor": None}, True),
        ({"filter": {"tags": ["a"]}, "cursor": "YQ"}, True),
        ({"filter": {"tags": ["a"]}, "ids": None}, True),
        ({"ids": ["a"], "cursor": "YQ"}, False),
        ({"ids": ["a"], "filter": {"tags": ["a"]}}, False),
        ({"ids": None, "filter": None}, False),
        ({"filter": {}}, False),
        ({}, False),
    ],
    ids=str,
)
def test_missions_are_cancelled_either_by_ids_or_by_a_filter(body: Any, valid: bool) -> None:
    schema = {"$ref": "#/components/schemas/Cancel", "components": OPENAPI["components"]}
    assert Draft202012Validator(schema).is_valid(body) is valid
    if valid:
        Cancel.model_validate(body)
    else:
        with pytest.raises(ValidationError):
            Cancel.model_validate(body)


def test_a_moment_of_a_query_may_be_a_number_or_a_text() -> None:
    asked = {each["name"]: each["schema"] for each in OPENAPI["paths"]["/api/missions"]["get"]["parameters"]}
    for name in ("created_after", "created_before"):
        assert [kind["type"] for kind in resolved(asked[name])["anyOf"]] == ["number", "string"]


def test_a_sign_of_life_needs_no_body_and_a_removal_has_none() -> None:
    assert OPENAPI["paths"]["/api/missions/{mission_id}/heartbeat"]["post"]["requestBody"]["required"] is False
    assert "requestBody" not in OPENAPI["paths"]["/api/missions/{mission_id}"]["delete"]


@pytest.mark.parametrize("route", ["/api/missions", "/api/missions/stats/overview"])
def test_who_polls_may_send_the_version_that_it_has(route: str) -> None:
    operation = OPENAPI["paths"][route]["get"]
    assert "If-None-Match" in [each["name"] for each in operation["parameters"]]
    assert [status for status, each in operation["responses"].items() if "ETag" in each.get("headers", {})] == [
        "200",
        "304",
    ]


@pytest.mark.parametrize("event_type", PAYLOADS)
@pytest.mark.parametrize(
    ("members", "valid"),
    [
        ({"tags": ["env=prod"], "actor": "arn:aws:iam::123456789012:user/alice", "reason": "disk full"}, True),
        ({"tags": "env=prod"}, False),
        ({"actor": None}, False),
        ({"sequence": 0}, False),
        ({"namespace": None}, False),
    ],
    ids=str,
)
def test_the_schemas_say_what_meta_has(event_type: str, members: dict[str, Any], valid: bool) -> None:
    sample = json.loads((event_documents.EVENTS / f"{event_type}.json").read_text())["detail"]
    schema = json.loads((event_documents.SCHEMAS / f"{event_type}.json").read_text())
    assert Draft202012Validator(schema).is_valid(sample | {"meta": sample["meta"] | members}) is valid


@pytest.mark.parametrize("event_type", PAYLOADS)
def test_the_asyncapi_document_describes_the_sample_events_and_no_others(event_type: str) -> None:
    message = ASYNCAPI["components"]["messages"][event_type]
    validator = Draft202012Validator(message["payload"] | {"components": ASYNCAPI["components"]})
    sample = json.loads((event_documents.EVENTS / f"{event_type}.json").read_text())["detail"]
    validator.validate(sample)
    for key in sample:
        assert not validator.is_valid({name: value for name, value in sample.items() if name != key}), key
    for other in PAYLOADS:
        if other != event_type:
            assert not validator.is_valid(sample | {"type": other})


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    def walk(node: Any) -> None:
        match node:
            case {"$ref": str(reference)}:
                target: Any = ASYNCAPI
                for part in reference.removeprefix("#/").split("/"):
                    target = target[part]
            case dict():
                for value in node.values():
                    walk(value)
            case list():
                for value in node:
                    walk(value)

    walk(ASYNCAPI)
    assert ASYNCAPI["asyncapi"] == "3.0.0"
