"""The models are those of the OpenAPI document."""

import dataclasses
import json
import types
import typing
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from missions_client import models

from local.processes import ROOT

DOCUMENT: dict[str, Any] = json.loads((ROOT / "functions/get_openapi/openapi.json").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
KINDS = {"string": str, "integer": int, "number": float, "boolean": bool, "null": types.NoneType}


def named(part: Any) -> set[str]:
    """The schemas of objects that this part of the document needs."""
    if isinstance(part, list):
        return set().union(*map(named, part))
    if not isinstance(part, dict):
        return set()
    found = set().union(*map(named, part.values()))
    name = part.get("$ref", "").rpartition("/")[2]
    if "properties" in SCHEMAS.get(name, {}):
        found |= {name} | named(SCHEMAS[name])
    return found


ANSWERS = sorted(
    named(
        [
            answer.get("content", {}).get("application/json")
            for path in DOCUMENT["paths"].values()
            for operation in path.values()
            if isinstance(operation, dict)
            for status, answer in operation["responses"].items()
            if status.startswith("2")
        ]
    )
)


def described(schema: dict[str, Any]) -> Any:
    """What a schema allows, in a form that does not depend on the order."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return described(SCHEMAS[name]) if "enum" in SCHEMAS[name] else name
    if "anyOf" in schema:
        return frozenset(described(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return frozenset(schema.get("enum", [schema.get("const")])), "literal"
    if schema["type"] == "array":
        return "list", described(schema["items"])
    if schema["type"] == "object":
        keys = described(schema["propertyNames"]) if "propertyNames" in schema else str
        values = schema["additionalProperties"]
        return "dict", keys, Any if values is True else described(values)
    return KINDS[schema["type"]]


def declared(kind: Any) -> Any:
    """The same of a type."""
    origin = get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return frozenset(declared(each) for each in get_args(kind))
    if origin is Literal:
        return frozenset(get_args(kind)), "literal"
    if origin in (list, dict):
        return origin.__name__, *map(declared, get_args(kind))
    return kind.__name__ if dataclasses.is_dataclass(kind) and isinstance(kind, type) else kind


@pytest.mark.parametrize("name", ANSWERS)
def test_a_model_has_the_members_and_the_types_of_its_schema(name: str) -> None:
    kind = getattr(models, name)
    hints = get_type_hints(kind)
    schema = SCHEMAS[name]
    assert {each: declared(hint) for each, hint in hints.items()} == {
        each: described(member) for each, member in schema["properties"].items()
    }
    optional = {each.name for each in dataclasses.fields(kind) if each.default is not dataclasses.MISSING}
    assert optional == set(schema["properties"]) - set(schema.get("required", []))


def test_the_models_have_nothing_that_the_document_does_not() -> None:
    made = {name for name, each in vars(models).items() if dataclasses.is_dataclass(each)} - {"Entry"}
    assert made == set(ANSWERS)


def test_statuses_and_levels_are_those_of_the_document() -> None:
    assert set(get_args(models.Status)) == set(SCHEMAS["MissionStatus"]["enum"])
    assert set(get_args(models.Level)) == set(SCHEMAS["LogLevel"]["enum"])


def test_a_new_mission_may_say_all_that_the_document_lets_it() -> None:
    assert {"name", *get_type_hints(models.NewMission)} == set(SCHEMAS["MissionCreate"]["properties"])
    assert {each.name for each in dataclasses.fields(models.Entry)} == set(SCHEMAS["MissionLogEntry"]["properties"])


@pytest.mark.parametrize("name", [name for name in ANSWERS if "examples" in SCHEMAS[name]])
def test_the_examples_of_the_document_are_read(name: str) -> None:
    for example in SCHEMAS[name]["examples"]:
        read: Any = models.read(getattr(models, name), example | {"what_a_newer_api_adds": 1})
        assert dataclasses.asdict(read) == example


@pytest.mark.parametrize("wrong", [None, [], "text", {}, {"results": {}, "next_cursor": None}, {"results": [1]}])
def test_another_answer_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"Cancelled|list"):
        models.read(models.CancelledPage, wrong)
