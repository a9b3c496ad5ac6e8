"""A namespace comes from a claim of the caller's token, and no caller reaches another's missions."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Answer, Listener, fresh_sandbox, invoke, sample

EVERY = ["create_mission", "get_mission", "list_missions", "update_status", "append_log_entry", "get_log", "get_stats"]


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch, missions: None) -> None:
    monkeypatch.setenv("NAMESPACE_CLAIM", "tenant")
    fresh_sandbox()


def invoke_as(claims: dict[str, Any] | None, operation: str, **changes: Any) -> Answer:
    authorizer = {} if claims is None else {"authorizer": {"jwt": {"claims": claims, "scopes": None}}}
    return invoke(operation, requestContext=sample(operation)["requestContext"] | authorizer, **changes)


def as_(tenant: str, operation: str, **changes: Any) -> Answer:
    return invoke_as({"sub": "somebody", "tenant": tenant}, operation, **changes)


def test_no_caller_reaches_the_missions_of_another_namespace(stream: Listener) -> None:
    assert as_("acme", "create_mission").status == 201
    for operation in ("get_mission", "update_status", "append_log_entry", "get_log"):
        assert as_("globex", operation).status == 404
    assert as_("globex", "list_missions").body["missions"] == []
    assert as_("globex", "get_stats").body["stats"]["total"] == 0
    assert as_("globex", "create_mission").status == 201  # the id is free there
    assert as_("acme", "get_stats").body["stats"]["total"] == 1
    assert {event.meta["namespace"] for event in stream.events} == {"acme", "globex"}


def test_an_idempotency_key_is_one_of_its_namespace(stream: Listener) -> None:
    for tenant in ("acme", "globex"):
        answer = as_(tenant, "create_mission", body={"name": tenant}, headers={"idempotency-key": "k"})
        assert (answer.status, answer.body["name"]) == (201, tenant)


def test_a_cursor_of_another_namespace_shows_nothing_of_it(stream: Listener) -> None:
    for name in "abc":
        as_("acme", "create_mission", body={"name": name})
    cursor = as_("acme", "list_missions", query={"limit": "1"}).body["next_cursor"]
    assert as_("globex", "list_missions", query={"cursor": cursor}).body["missions"] == []


@pytest.mark.parametrize("operation", EVERY)
@pytest.mark.parametrize(
    "claims",
    [None, {}, {"tenant": ""}, {"tenant": "a}b"}, {"tenant": "a b"}, {"tenant": "x" * 129}, {"tenant": ["acme"]}],
    ids=repr,
)
def test_a_token_that_names_no_namespace_is_forbidden(
    untouched: Callable[[], None], operation: str, claims: dict[str, Any] | None
) -> None:
    answer = invoke_as(claims, operation)
    assert (answer.status, answer.body["code"]) == (403, "forbidden")


def test_health_needs_no_token(stream: Listener) -> None:
    assert invoke("health").status == 200


def test_without_a_configured_claim_everybody_shares_the_default_namespace(
    stream: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAMESPACE_CLAIM")
    fresh_sandbox(stream)
    assert as_("acme", "create_mission").status == 201
    assert stream.events[0].meta["namespace"] == "default"
