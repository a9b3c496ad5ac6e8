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


def test_every_route_of_the_template_is_documented_but_that_of_the_document() -> None:
    described = {f"{method.upper()} {path}" for path, method in OPERATIONS}
    assert described | {"GET /api/missions/openapi.json"} == {route.key for route in routes()}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_has_a_summary_an_example_and_its_errors(path: str, method: str) -> None:
    operation = OPENAPI["paths"][path][method]
    assert operation["summary"]
    contents = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    contents += [operation["requestBody"]] if "requestBody" in operation else []
    for each in contents:
        (content,) = each["content"].values()
        assert content["example"]
        Draft202012Validator(content["schema"] | {"components": OPENAPI["components"]}).validate(content["example"])
    errors = {status for status in operation["responses"] if status >= "4"}
    assert "503" in errors
    assert ("400" in errors) == ("requestBody" in operation)
    assert ("404" in errors) == ("{mission_id}" in path)


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
