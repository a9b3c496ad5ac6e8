"""openapi-python-client makes a whole client from the OpenAPI document, and it is used for real."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from local.documents import OPENAPI, OPERATIONS
from tests.stack import running

ROOT = Path(__file__).parents[2]
PACKAGE = "generated_missions"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the client, which can be imported."""
    folder = tmp_path_factory.mktemp("generated")
    programs = Path(sys.executable).parent
    command: list[str | Path] = [programs / "openapi-python-client", "generate", "--fail-on-warning", "--meta", "none"]
    made = subprocess.run(
        [*command, "--path", OPENAPI, "--output-path", folder / PACKAGE],
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},  # it formats with ruff
        capture_output=True,
        text=True,
        check=False,
    )
    told = made.stdout + made.stderr
    assert made.returncode == 0, told
    assert told.splitlines() == [f"Generating {folder / PACKAGE}"]  # a warning would follow
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder / PACKAGE
    for name in [each for each in sys.modules if each.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stack of `make run` at which callers sign in with a token."""
    with running(tmp_path_factory.mktemp("stack"), AUTH="jwt") as (url, _):
        yield url


class Api:
    """The operations of the client by their names, and its models."""

    def __init__(self, client: Any) -> None:
        self.models: Any = importlib.import_module(f"{PACKAGE}.models")
        self._client = client

    def __call__(self, name: str, *path: str, expected: int, **options: Any) -> Any:
        """What the client made of the answer, which must have this status."""
        module = importlib.import_module(f"{PACKAGE}.api.{OPERATIONS[name].lower()}.{name}")
        answer = module.sync_detailed(*path, client=self._client, **options)
        assert answer.status_code == expected, answer.content
        return answer.parsed


@contextmanager
def client(url: str, token: str) -> Iterator[Api]:
    module = importlib.import_module(f"{PACKAGE}.client")
    with module.AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True) as made:
        yield Api(made)


@pytest.fixture(scope="module")
def api(generated: Path, url: str) -> Iterator[Api]:
    token = requests.post(f"{url}/_local/token", timeout=10).json()["access_token"]
    with client(url, token) as made:
        yield made


@pytest.fixture
def tag() -> str:
    return f"test={uuid4().hex[:8]}"


def create(api: Api, tag: str, **members: Any) -> Any:
    body = api.models.MissionCreate(name="Deploy v2.0", tags=[tag], **members)
    return api("create_mission", expected=201, body=body)


def move(api: Api, mission_id: str, status: str, expected: int = 200, **options: Any) -> Any:
    body = api.models.StatusUpdate(status=api.models.MissionStatus(status))
    return api("update_status", mission_id, expected=expected, body=body, **options)


def test_the_client_has_each_operation_and_each_model_of_the_document(generated: Path, api: Api) -> None:
    made = {(each.parent.name, each.stem) for each in generated.glob("api/*/*.py") if each.stem != "__init__"}
    assert made == {(tag.lower(), name) for name, tag in OPERATIONS.items()}
    assert len(made) == 14
    schemas = json.loads(OPENAPI.read_text())["components"]["schemas"]
    unions = {name for name, schema in schemas.items() if "anyOf" in schema}
    assert unions == {"AnyError", "Moment"}  # which are types of others, and no classes
    assert set(schemas) - unions <= set(dir(api.models))


def test_a_mission_is_created_started_logged_and_read(api: Api, tag: str) -> None:
    data = api.models.MissionCreateData.from_dict({"commit": "4f2a9c1", "steps": [1, {"two": None}]})
    mission = create(api, tag, data=data, deadline=9_000_000_000, description=None)
    assert (mission.status, mission.version, mission.data.to_dict()) == ("PENDING", 1, data.to_dict())
    assert (mission.description, mission.deadline, mission.tags) == ("", 9_000_000_000, [tag])

    started = move(api, mission.id, "RUNNING", if_match='"1"', idempotency_key=f"{mission.id}/start")
    assert (started.status, started.version) == ("RUNNING", 2)

    entry = api.models.MissionLogEntry(message="Step 1", data=api.models.MissionLogEntryData.from_dict({"step": 1}))
    logged = api("append_log_entry", mission.id, expected=201, body=entry)
    assert isinstance(logged, api.models.LogEntry)
    assert (logged.level, logged.message, logged.data.to_dict()) == ("info", "Step 1", {"step": 1})

    bad = api.models.MissionLogEntry(message="Step 2 failed", level=api.models.LogLevel.ERROR)
    batch = api.models.LogBatch(entries=[api.models.MissionLogEntry(message="Step 2"), bad])
    both = api("append_log_entry", mission.id, expected=201, body=batch)
    assert isinstance(both, api.models.LoggedBatch)
    assert [each.message for each in both.entries] == ["Step 2", "Step 2 failed"]

    page = api("get_log", mission.id, expected=200, order=api.models.GetLogOrder.NEWEST, limit=2)
    assert [each.message for each in page.log] == ["Step 2 failed", "Step 2"]
    assert page.next_cursor
    errors = api("get_log", mission.id, expected=200, level=[api.models.LogLevel.ERROR])
    assert [each.message for each in errors.log] == ["Step 2 failed"]
    assert errors.next_cursor is None
    read = api("get_mission", mission.id, expected=200)
    assert (read.version, read.updated_at) == (2, started.updated_at)
    move(api, mission.id, "COMPLETED")


def test_missions_are_listed_by_filters_and_page_by_page(api: Api, tag: str) -> None:
    first, second = create(api, tag), create(api, tag)
    move(api, second.id, "RUNNING")
    status = api.models.MissionStatus
    running = api("list_missions", expected=200, tag=[tag], status=[status.RUNNING, status.FAILED])
    assert [each.id for each in running.missions] == [second.id]
    options = {"tag": [tag], "order": api.models.ListMissionsOrder.OLDEST, "limit": 1, "created_after": 1_700_000_000.5}
    page = api("list_missions", expected=200, **options)
    following = api("list_missions", expected=200, cursor=page.next_cursor, **options)
    assert [each.id for each in (*page.missions, *following.missions)] == [first.id, second.id]
    assert api("list_missions", expected=200, tag=[tag], overdue=True).missions == []


def test_a_worker_claims_a_mission_and_shows_signs_of_life(api: Api, tag: str) -> None:
    claim = api.models.Claim(tags=[tag], lease=60, worker="worker-1")
    assert api("claim_mission", expected=204, body=claim) is None
    mission = create(api, tag)
    claimed = api("claim_mission", expected=200, body=claim)
    assert (claimed.id, claimed.status, claimed.worker) == (mission.id, "RUNNING", "worker-1")
    sign = api("heartbeat", mission.id, expected=200, body=api.models.Heartbeat(progress=0.5, note="half"))
    assert (sign.status, sign.worker) == ("RUNNING", "worker-1")
    assert sign.next_before == pytest.approx(sign.active_at + 60)
    assert api("heartbeat", mission.id, expected=200).status == "RUNNING"  # it needs no body
    assert api("get_mission", mission.id, expected=200).progress == 0.5


def test_missions_are_cancelled_tried_again_and_removed(api: Api, tag: str) -> None:
    one, other = create(api, tag), create(api, tag)
    by_ids = api("cancel_missions", expected=200, body=api.models.Cancel(ids=[one.id], reason="superseded"))
    assert [(each.id, each.outcome, each.detail) for each in by_ids.results] == [(one.id, "cancelled", None)]
    chosen = api.models.MissionFilter(tags=[tag])
    by_filter = api("cancel_missions", expected=200, body=api.models.Cancel(filter_=chosen))
    assert [each.id for each in by_filter.results] == [other.id]
    assert by_filter.next_cursor is None
    again = api("retry_mission", one.id, expected=201)
    assert (again.attempt, again.retry_of, again.status) == (2, one.id, "PENDING")
    assert api("delete_mission", other.id, expected=204) is None
    removed = api("get_mission", other.id, expected=410)
    assert (removed.code, removed["removed_at"] > one.created_at) == ("mission_removed", True)


def test_the_statistics_and_the_health_are_read(api: Api, tag: str) -> None:
    create(api, tag)
    stats = api("get_stats", expected=200).stats
    assert stats.total == sum(stats.by_status.to_dict().values()) >= 1
    assert stats.all_time.created >= stats.total
    history = api("get_history", expected=200, from_=1_700_000_000, step=api.models.GetHistoryStep.DAY)
    assert history.step == "day"
    assert sum(each.created for each in history.history) == stats.all_time.created
    assert api("health", expected=200).status == "ok"


def test_an_error_is_read_as_the_problem_that_it_is(api: Api, tag: str) -> None:
    mission = create(api, tag)
    missing = api("get_mission", "nowhere", expected=404)
    assert isinstance(missing, api.models.Problem)
    assert (missing.code, missing.status) == ("mission_not_found", 404)
    refused = move(api, mission.id, "COMPLETED", expected=409)
    assert isinstance(refused, api.models.Problem)
    assert (refused.code, refused["allowed"]) == ("transition_refused", ["RUNNING", "CANCELLED"])
    assert move(api, mission.id, "RUNNING", expected=412, if_match='"7"').code == "stale_version"
    blank = api("create_mission", expected=422, body=api.models.MissionCreate(name=" "))
    assert [(each.in_, each.pointer) for each in blank.errors] == [("body", "/name")]


def test_what_api_gateway_refuses_is_read_in_its_own_form(api: Api, url: str) -> None:
    with client(url, "no.such.token") as stranger:
        refused = stranger("get_stats", expected=401)
    assert isinstance(refused, api.models.GatewayError)
    assert refused.message == "Unauthorized"
    with client(f"{url}/elsewhere", "no.such.token") as lost:
        nowhere = lost("get_mission", "deploy-42", expected=404)
    assert isinstance(nowhere, api.models.GatewayError)
    assert nowhere.message == "Not Found"
