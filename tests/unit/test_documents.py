"""The committed documents are those that the models make, and say what they should."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from missions.domain.events import PAYLOADS
from openapi_spec_validator import validate

from local import documents, event_documents
from local.api_gateway import routes

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


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_has_a_summary_an_example_and_its_errors(path: str, method: str) -> None:
    operation = OPENAPI["paths"][path][method]
    assert operation["summary"]
    assert ("content" in operation["responses"].get("204", {})) is False  # it says nothing
    contents = [answer for status, answer in operation["responses"].items() if status in ("200", "201")]
    contents += [operation["requestBody"]] if "requestBody" in operation else []
    for each in contents:
        (content,) = each["content"].values()
        assert content["example"]
        Draft202012Validator(content["schema"] | {"components": OPENAPI["components"]}).validate(content["example"])
    errors = {status for status in operation["responses"] if status >= "4"}
    assert "503" in errors
    assert ("400" in errors) == ("requestBody" in operation)
    assert ("404" in errors) == ("{mission_id}" in path)
    assert ("410" in errors) == ("{mission_id}" in path and method != "delete")  # what is removed twice is removed


def test_a_moment_of_a_query_may_be_a_number_or_a_text() -> None:
    asked = {each["name"]: each["schema"] for each in OPENAPI["paths"]["/api/missions"]["get"]["parameters"]}
    for name in ("created_after", "created_before"):
        assert [kind["type"] for kind in asked[name]["anyOf"]] == ["number", "string"]


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
