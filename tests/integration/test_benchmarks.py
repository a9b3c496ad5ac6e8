"""The benchmark refuses to time what does not happen."""

from typing import Any

import pytest
import redis
from missions.publishing.emitter import Emitter

from benchmarks import floor, version1, world
from benchmarks.recording import load, new, record, replay
from benchmarks.timing import NotDone, side_by_side

pytestmark = pytest.mark.usefixtures("valkey")  # a single server is enough


@pytest.fixture
def store(missions: None, redis_client: redis.Redis) -> redis.Redis:
    world.load_scripts(redis_client)
    load(redis_client, world.new_ids(world.PAGE))
    return redis_client


def timed(way: world.Way, operation: str) -> None:
    side_by_side({"it": way.contender(operation)}, rounds=1, batch=2, warm_up=0)


@pytest.mark.parametrize("operation", world.OPERATIONS)
def test_what_happens_is_timed(store: redis.Redis, operation: str) -> None:
    timed(world.service(store), operation)
    timed(world.Way(store, floor.handlers(store)), operation)


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


def test_version_1_still_creates(store: redis.Redis) -> None:
    store.script_load(version1.CREATE.text)
    replay(store, [version1.create_call("one", world.content())])
    with pytest.raises(NotDone, match="exists"):
        replay(store, [version1.create_call("one", world.content())])
