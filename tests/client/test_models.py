"""The models and the requests are those of the OpenAPI document."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import httpx
import pytest
from missions_client import Client, Conflict, models, run, text, transport

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


def sent_by(call: Callable[[Client], Any]) -> httpx.Request:
    """The request that a method of the client sends."""
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(409, json={"code": "refused", "detail": "enough"})

    with Client("http://api", transport=httpx.MockTransport(answer)) as client, pytest.raises(Conflict):
        call(client)
    return sent[0]


def operations() -> dict[str, dict[str, Any]]:
    return {
        each["operationId"]: each | {"path": path, "method": method.upper()}
        for path, methods in DOCUMENT["paths"].items()
        for method, each in methods.items()
        if isinstance(each, dict)
    }


FILTER: Any = {"status": ["FAILED"], "tags": ["a"], "name": "B", "created_after": 1, "created_before": 2}
NEW: Any = {
    "id": "job", "description": "d", "data": {"n": 1}, "tags": ["a"], "timeout": 1, "heartbeat_timeout": 1,
    "deadline": 1, "not_before": 1, "retries": 1, "backoff": 1, "retention": 1,
}  # fmt: skip
CALLS: dict[str, Callable[[Client], Any]] = {
    "create_mission": lambda client: client.create("Build", **NEW),
    "list_missions": lambda client: client.page(
        status=["FAILED"], tags=["a"], name="B", overdue=True, created_after=1, created_before=2, order="oldest",
        cursor="c", limit=3,
    ),
    "get_mission": lambda client: client.get("job"),
    "delete_mission": lambda client: client.delete("job"),
    "update_status": lambda client: client.set_status("job", "FAILED", reason="r", if_match=3),
    "append_log_entry": lambda client: client.log("job", "text", "error", {"n": 1}),
    "get_log": lambda client: client.log_page("job", levels=["error"], order="newest", cursor="c", limit=3),
    "claim_mission": lambda client: client.claim(tags=["a"], lease=60, worker="w"),
    "heartbeat": lambda client: client.heartbeat("job", progress=0.5, note="n"),
    "retry_mission": lambda client: client.retry("job"),
    "cancel_missions": lambda client: list(client.cancel_many(filter=FILTER, reason="r")),
    "get_stats": lambda client: client.stats(),
    "get_history": lambda client: client.history(from_=1, to=2, step="day"),
    "health": lambda client: client.health(),
}  # fmt: skip
OTHERWISE = {"cancel_missions": {"ids", "cursor"}}  # members that another request of the same method has
NOT_SENT = {"If-None-Match"}  # a client that keeps answers would


def test_there_is_a_method_for_each_operation() -> None:
    assert CALLS.keys() == operations().keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_method_can_send_all_that_its_operation_takes_and_nothing_else(name: str) -> None:
    operation, request = operations()[name], sent_by(CALLS[name])
    assert (request.method, request.url.path) == (operation["method"], operation["path"].format(mission_id="job"))
    taken = {(each["in"], each["name"]) for each in operation.get("parameters", []) if each["in"] != "path"}
    sent = {("query", each) for each in request.url.params}
    sent |= {("header", name) for place, name in taken if place == "header" and name in request.headers}
    assert sent == {each for each in taken if each[1] not in NOT_SENT}
    if "requestBody" not in operation:
        assert request.content == b""
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    # A log request may be one entry, or a batch, which is what the client sends
    body = SCHEMAS[schema.get("$ref", "/LogBatch").rpartition("/")[2]]
    said = json.loads(request.content)
    assert said.keys() == body["properties"].keys() - OTHERWISE.get(name, set())
    for member, of in (("filter", "MissionFilter"), ("entries", "MissionLogEntry")):
        inner = said.get(member, {})
        assert not inner or (inner[0] if member == "entries" else inner).keys() == SCHEMAS[of]["properties"].keys()


def test_many_missions_to_cancel_are_named_by_their_ids() -> None:
    request = sent_by(lambda client: list(client.cancel_many(ids=["a", "b"])))
    assert json.loads(request.content) == {"ids": ["a", "b"]}


def test_the_limits_are_those_of_the_document() -> None:
    of_lists = {
        next(each["schema"]["maximum"] for each in operations()[name]["parameters"] if each["name"] == "limit")
        for name in ("list_missions", "get_log")
    }
    assert of_lists == {transport.PAGE}
    ids = SCHEMAS["Cancel"]["properties"]["ids"]["anyOf"][0]
    entries = SCHEMAS["LogBatch"]["properties"]["entries"]
    assert {ids["maxItems"], entries["maxItems"], run.BATCH} == {transport.IN_ONE_REQUEST}
    assert SCHEMAS["MissionLogEntry"]["properties"]["message"]["maxLength"] == text.LONGEST
    reason = SCHEMAS["StatusUpdate"]["properties"]["reason"]["anyOf"][0]
    assert reason["maxLength"] == run.REASON == len(text.reason("x" * 2000))
    for member in (SCHEMAS["Heartbeat"]["properties"]["note"], SCHEMAS["Claim"]["properties"]["worker"]):
        assert member["anyOf"][0]["maxLength"] == len(text.note("x" * 2000) or "")
