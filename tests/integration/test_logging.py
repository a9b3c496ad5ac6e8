"""What the functions log: who asked for what, and no secrets."""

import io
import json
from collections.abc import Iterator

import pytest
from missions.emitter import logger
from missions.settings import settings

from tests.conftest import Listener, invoke, sample


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    handler = logger.handlers[0]
    logged = io.StringIO()
    before = handler.setStream(logged)
    yield logged
    handler.setStream(before)


def test_each_request_is_one_line_with_its_id_route_namespace_and_mission(
    stream: Listener, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMESPACE_CLAIM", "tenant")
    context = sample("create_mission")["requestContext"] | {"authorizer": {"jwt": {"claims": {"tenant": "acme"}}}}
    invoke("create_mission", requestContext=context)
    invoke("health")
    created, health = map(json.loads, output.getvalue().splitlines())
    assert {name: created[name] for name in ("request_id", "route", "namespace", "mission_id", "status")} == {
        "request_id": "sample-create-mission",
        "route": "POST /api/missions",
        "namespace": "acme",
        "mission_id": "deploy-42",
        "status": 201,
    }
    assert health.keys() & {"namespace", "mission_id"} == set()


def test_settings_that_are_wrong_are_named_without_what_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("IDEMPOTENCY_KEY_LIFE", "secret-by-mistake")
    monkeypatch.setenv("ZZ_TOKEN", "supersecret")
    settings.cache_clear()
    with pytest.raises(ValueError, match="idempotency_key_life") as caught:
        settings()
    assert "secret-by-mistake" not in str(caught.value)
    monkeypatch.delenv("IDEMPOTENCY_KEY_LIFE")
    with pytest.raises(ValueError, match="REDIS_URL") as caught:
        settings()
    settings.cache_clear()
    assert "supersecret" not in str(caught.value)
