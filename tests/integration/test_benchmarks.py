"""The benchmark refuses to time what does not happen."""

from io import StringIO
from typing import Any

import pytest
import redis
from missions import sweeper
from missions.publishing.emitter import Emitter
from rich.console import Console

from benchmarks import claiming, floor, sweeping, version1, version2, world
from benchmarks.publishing import event_bridge
from benchmarks.recording import load, new, record, replay
from benchmarks.report import Report
from benchmarks.timing import NotDone, side_by_side

pytestmark = pytest.mark.usefixtures("valkey")  # a single server is enough


@pytest.fixture
def store(missions: None, redis_client: redis.Redis) -> redis.Redis:
    world.load_scripts(redis_client)
    load(redis_client, world.new_ids(10 * world.PAGE))  # one in ten has the tag
    return redis_client


@pytest.fixture
def report() -> Report:
    return Report(Console(file=StringIO()))


def timed(way: world.Way, operation: str) -> None:
    side_by_side({"it": way.contender(operation)}, rounds=1, batch=2, warm_up=0)


@pytest.mark.parametrize("operation", world.OPERATIONS)
def test_what_happens_is_timed(store: redis.Redis, operation: str) -> None:
    timed(world.service(store), operation)
    timed(world.Way(store, floor.handlers(store)), operation)


@pytest.mark.parametrize("operation", world.MORE)
def test_what_has_no_floor_happens_too(store: redis.Redis, operation: str) -> None:
    timed(world.service(store), operation)


def test_missing_events_are_noticed(store: redis.Redis) -> None:
    with pytest.raises(NotDone, match="0 entries into the outbox, not 2"):
        timed(world.service(store, emitter=Emitter(None)), "create_mission")


def test_a_mission_that_is_not_stored_is_noticed(store: redis.Redis) -> None:
    def create_mission(event: dict[str, Any], _: Any) -> dict[str, Any]:
        return {"statusCode": 201, "body": event["body"]}

    handlers = world.functions() | {"create_mission": create_mission}
    with pytest.raises(NotDone, match="mission_not_found"):
        timed(world.Way(store, handlers, outbox=False), "create_mission")


def test_an_error_is_noticed(store: redis.Redis) -> None:
    way = world.service(store, pool=["gone", "gone"])
    with pytest.raises(NotDone, match=r"get_mission answered \{404\}"):
        timed(way, "get_mission")


def test_a_short_page_is_noticed(store: redis.Redis) -> None:
    store.delete(*store.scan_iter(world.NAMES.mission("*")))
    load(store, ["one"])
    with pytest.raises(NotDone, match="a page of list_missions has 1, not 50"):
        timed(world.service(store), "list_missions")


def test_a_replay_that_changes_nothing_is_noticed(store: redis.Redis) -> None:
    start = record()["start"][0].filled(new("nobody"))
    with pytest.raises(NotDone, match="the replay answered"):
        replay(store, [start])


@pytest.mark.parametrize("version", [version1, version2])
def test_earlier_versions_still_create(store: redis.Redis, version: Any) -> None:
    store.script_load(version.CREATE.text)
    replay(store, [version.create_call("one", world.content())])
    with pytest.raises(NotDone, match="exists"):
        replay(store, [version.create_call("one", world.content())])


def test_workers_claim_all_missions_each_once(
    store: redis.Redis, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "WORKERS", 3)
    claiming.claim_all(report, store, world.port_of(store), 20, "")
    trips = next(row.ratio for row in report.rows if "round trips" in row.name)
    assert trips is not None
    assert trips >= 2


def test_a_mission_that_is_claimed_twice_is_noticed(store: redis.Redis) -> None:
    claims = [claiming.Claimed(each, 0.1, 2) for each in ("one", "two", "two")]
    with pytest.raises(NotDone, match="3 claims got 2 missions of 3"):
        claiming.check_claims(store, claims, 3)


def test_a_claim_that_the_store_does_not_know_of_is_noticed(store: redis.Redis) -> None:
    with pytest.raises(NotDone, match="missions are RUNNING, not 1"):
        claiming.check_claims(store, [claiming.Claimed("one", 0.1, 2)], 1)


def test_what_is_due_is_swept(store: redis.Redis, report: Report) -> None:
    store.flushall()
    with event_bridge() as bus:
        sweeping.ending(report, store, bus, 20)
    assert [row.against for row in report.rows] == ["10 FAILED, 10 removed"]


def test_a_sweeper_that_does_nothing_is_noticed(
    store: redis.Redis, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "sweep", lambda *_: None)
    with event_bridge() as bus, pytest.raises(NotDone, match="the sweeper says"):
        sweeping.ending(report, store, bus, 20)
