"""The benchmark refuses to time what does not happen."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from missions import emitter

from benchmarks import floor, memory, world
from benchmarks.timing import NotDone, side_by_side
from benchmarks.ways import Way, our_way
from tests.conftest import forget


@pytest.fixture
def benchmarked(missions: None, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """The service as it is benchmarked: events enter the outbox."""
    monkeypatch.setenv("EVENT_BUS_NAME", "")
    monkeypatch.setattr(emitter, "PAUSE", emitter.PAUSE)
    streams = [(each, each.stream) for each in emitter.logger.handlers]
    level = emitter.logger.log_level
    world.load_scripts(redis_client)
    world.use_later(world.port(redis_client))
    yield redis_client
    for handler, stream in streams:
        handler.setStream(stream)
    emitter.logger.setLevel(level)
    world._nowhere().close()
    world._nowhere.cache_clear()
    forget()


def timed(way: Way, operation: str) -> None:
    side_by_side({"it": way.contender(operation)}, rounds=1, batch=2)


@pytest.mark.parametrize("operation", world.OPERATIONS)
def test_what_happens_is_timed(benchmarked: redis.Redis, operation: str) -> None:
    world.load(benchmarked, world.new_ids(world.PAGE))

    timed(our_way(benchmarked), operation)


def test_missing_events_are_noticed(benchmarked: redis.Redis) -> None:
    emitter.set_event_stream(None)

    with pytest.raises(NotDone, match="0 events into the outbox, not"):
        timed(our_way(benchmarked), "create_mission")


def test_a_mission_that_is_not_stored_is_noticed(benchmarked: redis.Redis) -> None:
    def create_mission(event: dict[str, Any], _: Any) -> dict[str, Any]:
        return {"statusCode": 201, "body": event["body"]}

    with pytest.raises(NotDone, match="not in the store"):
        timed(Way(benchmarked, {"create_mission": create_mission}, world.load, publishing=True), "create_mission")


def test_an_error_is_noticed(benchmarked: redis.Redis) -> None:
    way = our_way(benchmarked)
    benchmarked.rename(floor.KEYS.mission(way._logged), "elsewhere")

    with pytest.raises(NotDone, match="get_log answered"):
        timed(way, "get_log")


def test_a_short_page_is_noticed(benchmarked: redis.Redis) -> None:
    with pytest.raises(NotDone, match="a page has 1 missions, not 50"):
        timed(our_way(benchmarked), "list_missions")


def test_a_hand_made_mission_that_is_another_is_noticed(
    benchmarked: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.same_records(benchmarked)
    monkeypatch.setattr(floor, "_facts", lambda *_: '"type":"other"}')

    with pytest.raises((NotDone, KeyError)):
        memory.same_records(benchmarked)
