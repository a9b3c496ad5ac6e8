"""What the functions log: who asked for what, and no secrets."""

import importlib
import io
import json
import logging
from collections.abc import Iterator

import pytest
import redis
from missions.log import logger
from missions.settings import Settings
from missions.storage.keys import Keys

from tests.conftest import Listener, invoke, sample

pytestmark = pytest.mark.usefixtures("valkey")  # a single server is enough


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    (handler,) = (each for each in logger.handlers if isinstance(each, logging.StreamHandler))
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


def test_each_line_has_the_id_of_the_trace(
    stream: Listener, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")
    monkeypatch.setattr(stream, "publish", lambda events: ["InternalFailure"] * len(events))
    invoke("create_mission")
    lines = list(map(json.loads, output.getvalue().splitlines()))
    assert [line["xray_trace_id"] for line in lines] == ["1-5759e988-bd862e3fe1be46a994272793"] * 2


def test_what_the_emitter_and_the_store_log_names_request_and_mission(
    stream: Listener, output: io.StringIO, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "publish", lambda events: ["InternalFailure"] * len(events))
    invoke("create_mission")
    redis_client.delete(Keys("default").log("deploy-42"))
    invoke("get_log")
    invoke("health")
    lines = list(map(json.loads, output.getvalue().splitlines()))
    failed, lost = (line for line in lines if line["level"] == "ERROR")
    requests = {line["route"]: line["request_id"] for line in lines if line["message"] == "Request"}
    assert (failed["mission_id"], failed["request_id"]) == ("deploy-42", requests["POST /api/missions"])
    assert (lost["mission_id"], lost["request_id"]) == ("deploy-42", requests["GET /api/missions/{mission_id}/log"])
    assert "mission_id" not in lines[-1]


def test_a_payload_that_is_no_request_is_not_logged_as_the_one_before(stream: Listener, output: io.StringIO) -> None:
    invoke("create_mission")
    with pytest.raises(KeyError):
        importlib.import_module("functions.create_mission.app").handler({"version": "2.0"}, None)
    last = json.loads(output.getvalue().splitlines()[-1])
    assert last["message"] == "Unexpected error"
    assert last.keys() & {"request_id", "mission_id", "namespace"} == set()


def test_the_line_of_a_replay_has_the_mission_that_it_answers_with(stream: Listener, output: io.StringIO) -> None:
    for _ in range(2):
        made = invoke("create_mission", body={"name": "n"}, headers={"idempotency-key": "k"}).body
    assert [json.loads(line)["mission_id"] for line in output.getvalue().splitlines()] == [made["id"]] * 2


def test_a_text_that_is_not_unicode_costs_no_line(output: io.StringIO) -> None:
    logger.warning("lone", text="\ud800")
    assert json.loads(output.getvalue())["text"] == "\ud800"


def test_settings_that_are_wrong_are_named_without_what_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("IDEMPOTENCY_KEY_LIFE", "secret-by-mistake")
    monkeypatch.setenv("ZZ_TOKEN", "supersecret")
    with pytest.raises(ValueError, match="idempotency_key_life") as caught:
        Settings.from_environment()
    assert "secret-by-mistake" not in str(caught.value)
    monkeypatch.delenv("IDEMPOTENCY_KEY_LIFE")
    with pytest.raises(ValueError, match="REDIS_URL") as caught:
        Settings.from_environment()
    assert "supersecret" not in str(caught.value)
