"""The sweeper removes what was kept long enough, costs by what is due, and is stopped by nothing that is broken."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from missions import runtime, service, sweeper
from missions.domain.errors import MissionNotFound, MissionRemoved, StoreUnavailable
from missions.domain.models import MissionCreate, MissionStatus
from missions.domain.writes import DEFAULT, Write
from missions.publishing import relay
from missions.storage import due as due_missions
from missions.storage import keys
from missions.storage.connection import Connection
from missions.storage.keys import Keys

from functions.sweep_missions import app as sweep_missions
from local.runtime_client import Context
from tests.cluster import Node
from tests.conftest import Listener, fresh_sandbox, sample
from tests.faults.harness import drain, time_passes

DAY = 86400  # seconds
HERE = Keys(DEFAULT)


def swept(more_time: Callable[[], bool] = lambda: True, stream: Listener | None = None) -> sweeper.Report:
    report = sweeper.Report()
    sweeper.sweep(report, lambda: stream, more_time)
    return report


def finished(mission_id: str, **given: Any) -> str:
    service.create_mission(MissionCreate(id=mission_id, name=mission_id, **given))
    service.update_status(mission_id, MissionStatus.CANCELLED)
    return mission_id


def late(client: redis.Redis, *ids: str) -> None:
    """Missions that wait past their deadline; the first one the longest."""
    for place, mission_id in enumerate(ids):
        service.create_mission(MissionCreate(id=mission_id, name=mission_id, deadline=time.time() + 60))
        time_passes(client, mission_id, DAY - place)


def is_kept(mission_id: str) -> bool:
    try:
        service.get_mission(mission_id)
    except MissionRemoved:
        return False
    return True


def filed(client: redis.Redis) -> list[str]:
    """What is filed as due, in the partition of the default namespace."""
    return [str(member).partition(" ")[2] for member in client.zrange(keys.due(HERE.partition), 0, -1)]


def content(client: redis.Redis, key: str) -> str:
    """What a key holds, but for the tokens of requests."""
    if ":token:" in key:
        return ""
    match client.type(key):
        case "zset":
            return str(client.zrange(key, 0, -1))
        case "hash":
            return str(client.hgetall(key))
        case "list":
            return str(client.lrange(key, 0, -1))
        case "set":
            return str(client.smembers(key))
        case "string":
            return str(client.get(key))
        case "stream":
            return str(client.xrange(key))
    raise AssertionError(key)


@pytest.fixture
def retention(monkeypatch: pytest.MonkeyPatch, stream: Listener) -> Callable[[float], None]:
    """Sets how many days finished missions are kept."""

    def set_to(days: float) -> None:
        monkeypatch.setenv("RETENTION_DAYS", str(days))
        fresh_sandbox(stream)

    return set_to


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[Any, ...]]]:
    """What is sent to the store meanwhile: for each round trip its commands."""
    sent: list[list[tuple[Any, ...]]] = []
    plain = Connection._exchange

    def exchange(self: Connection, address: Any, commands: Any, *args: Any) -> Any:
        sent.append(list(commands))
        return plain(self, address, commands, *args)

    monkeypatch.setattr(Connection, "_exchange", exchange)
    return sent


# What is removed


def test_a_finished_mission_is_removed_with_all_that_finds_it(
    retention: Callable[[float], None], redis_client: redis.Redis
) -> None:
    retention(1)
    finished("gone-mission", tags=["x", "y"])
    service.create_mission(MissionCreate(id="open", name="open"))
    time_passes(redis_client, "open", 100 * DAY)
    time_passes(redis_client, "gone-mission", DAY - 60)
    assert swept().removed == 0
    time_passes(redis_client, "gone-mission", 120)
    report = swept()
    assert (report.removed, report.left, report.oldest >= 59_000) == (1, 0, True)
    with pytest.raises(MissionRemoved) as error:
        service.get_mission("gone-mission")
    assert abs(error.value.extra["removed_at"] - time.time()) < 60
    assert [key for key in redis_client.scan_iter() if "gone-mission" in content(redis_client, key)] == []
    assert [key for key in redis_client.scan_iter() if "gone-mission" in key] == [HERE.mission("gone-mission")]
    assert 29 * DAY < int(redis_client.ttl(HERE.mission("gone-mission"))) <= 30 * DAY
    stats = service.get_stats()
    assert (stats.total, stats.all_time.created, stats.all_time.cancelled) == (1, 2, 1)


def test_a_mission_says_itself_how_long_it_is_kept(
    retention: Callable[[float], None], redis_client: redis.Redis
) -> None:
    retention(10)
    for mission_id in (finished("short", retention=60), finished("usual"), finished("long", retention=20 * DAY)):
        time_passes(redis_client, mission_id, DAY)
    assert (swept().removed, is_kept("short"), is_kept("usual"), is_kept("long")) == (1, False, True, True)
    for mission_id in ("usual", "long"):
        time_passes(redis_client, mission_id, 10 * DAY)
    assert (swept().removed, is_kept("usual"), is_kept("long")) == (1, False, True)


def test_without_a_retention_only_those_are_removed_that_have_one(
    retention: Callable[[float], None], redis_client: redis.Redis
) -> None:
    retention(0)
    for mission_id in (finished("a"), finished("b", retention=60)):
        time_passes(redis_client, mission_id, 3650 * DAY)
    assert (swept().removed, is_kept("a"), is_kept("b"), filed(redis_client)) == (1, True, False, [])


@pytest.mark.parametrize(("now", "kept"), [(90, True), (0, True), (1, False)])
def test_the_retention_of_now_decides_about_a_mission_that_was_filed_before(
    retention: Callable[[float], None], redis_client: redis.Redis, now: float, kept: bool
) -> None:
    retention(2)
    time_passes(redis_client, finished("a"), 3 * DAY)
    retention(now)
    assert (swept().left, is_kept("a")) == (0, kept)
    assert filed(redis_client) == (["a"] if now == 90 else [])


def test_the_events_of_a_removed_mission_are_published_all_the_same(
    stream: Listener, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MIN_AGE", 0)
    runtime.current.emitter.pause()
    time_passes(redis_client, finished("a", retention=60, tags=["x"]), DAY)
    assert (swept().removed, stream.events) == (1, [])
    drain(stream)
    assert [event.meta["sequence"] for event in stream.events] == [1, 2, 3, 4]
    assert {tuple(event.meta["tags"]) for event in stream.events} == {("x",)}


def test_events_are_published_by_the_sweeper_itself(stream: Listener, redis_client: redis.Redis) -> None:
    late(redis_client, "a", "b")
    stream.events.clear()
    assert swept(stream=stream).cancelled == 2
    told = {event.payload.mission_id: event.meta for event in stream.of_type("mission.status_changed")}
    assert told.keys() == {"a", "b"}
    assert (told["a"]["actor"], told["a"]["reason"].split(":")[0]) == ("sweep_missions", "deadline")
    assert runtime.current.outbox.survey().backlogs == []


def test_all_namespaces_are_swept(stream: Listener, servers: list[Node]) -> None:
    names = [f"tenant-{number}" for number in range(12)]
    for name in names:
        service.create_mission(MissionCreate(id="a", name="a", deadline=time.time() + 0.2), Write(name))
    time.sleep(0.3)
    assert swept().cancelled == len(names)
    assert {service.get_mission("a", name).status for name in names} == {"CANCELLED"}


# What is broken


@pytest.mark.parametrize(
    "record", ["nonsense", "status=RUNNING", "a=b\n\n{}", "\n\n", "", b"\xff\xfe\n\n{}", ["a list"]]
)
def test_a_broken_record_is_told_and_is_due_no_more(
    stream: Listener, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture, record: Any
) -> None:
    late(redis_client, "broken", "good")
    key = HERE.mission("broken")
    redis_client.delete(key)
    if isinstance(record, list):
        redis_client.rpush(key, *record)
    else:
        redis_client.set(key, record)
    before = redis_client.dump(key)
    report = swept()
    assert (report.cancelled, report.left, filed(redis_client)) == (1, 0, ["good"])
    (told,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert vars(told)["mission_id"] == "broken"
    assert redis_client.dump(key) == before
    assert swept() == sweeper.Report()  # nothing is due


def test_a_record_that_cannot_be_moved_is_told_and_holds_up_no_other(
    stream: Listener, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limit can be read, but not its version."""
    for module in (due_missions, sweeper):
        monkeypatch.setattr(module, "PAGE", 2)
    ids = ["broken-1", "broken-2", "broken-3", "good"]
    late(redis_client, *ids)
    for mission_id in ids[:3]:
        record = str(redis_client.get(HERE.mission(mission_id)))
        redis_client.set(HERE.mission(mission_id), record.replace(" version=1 ", " version=one "))
    report = swept()
    assert report.cancelled == 1
    assert {vars(each)["error"] for each in caplog.records if each.levelno == logging.ERROR} == {
        f"What the store keeps of mission '{mission_id}' cannot be read." for mission_id in ids[:3]
    }


def test_what_cannot_be_archived_holds_up_no_mission_that_is_overdue(
    stream: Listener, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def write(self, *_: object) -> tuple[list[Any], bool]:
            return [], False

    for module in (due_missions, sweeper):
        monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        time_passes(redis_client, finished(f"kept-{number}", retention=60), 2 * DAY)
    late(redis_client, "late")
    vars(runtime.current)["archive"] = Broken()
    report = swept()
    assert (report.removed, report.cancelled) == (0, 1)
    assert report.left > 0
    assert all(is_kept(f"kept-{number}") for number in range(5))


def test_a_mission_that_is_missing_is_due_no_more(stream: Listener, redis_client: redis.Redis) -> None:
    late(redis_client, "lost", "good")
    redis_client.delete(HERE.mission("lost"), HERE.log("lost"))
    report = swept()
    assert (report.cancelled, report.left, filed(redis_client)) == (1, 0, ["good"])
    with pytest.raises(MissionNotFound):
        service.get_mission("lost")


def test_a_mission_that_is_filed_too_early_is_filed_anew(stream: Listener, redis_client: redis.Redis) -> None:
    moment = time.time() + 60
    service.create_mission(MissionCreate(id="a", name="a", deadline=moment))
    redis_client.zadd(keys.due(HERE.partition), {f"{DEFAULT} a": 1})
    assert (swept().cancelled, is_kept("a")) == (0, True)
    score = redis_client.zscore(keys.due(HERE.partition), f"{DEFAULT} a")
    assert score == pytest.approx(moment * 1_000_000, abs=1)


def test_a_partition_that_does_not_answer_holds_up_no_other(
    stream: Listener, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(redis_client, "a")
    plain = Connection.commands
    away = (HERE.partition + 1) % keys.PARTITIONS

    def commands(self: Connection, each: Any) -> list[Any]:
        asked = list(each)
        found = plain(self, asked)
        return [None if call[1] == keys.due(away) else answer for call, answer in zip(asked, found, strict=True)]

    monkeypatch.setattr(Connection, "commands", commands)
    report = swept()
    assert (report.cancelled, report.unread) == (1, 1)
    away = HERE.partition
    late(redis_client, "b")
    report = swept()
    assert (report.cancelled, report.unread, service.get_mission("b").status) == (0, 1, "PENDING")
    monkeypatch.setattr(Connection, "commands", lambda self, each: [None for _ in each])
    with pytest.raises(StoreUnavailable):
        swept()


def test_without_time_nothing_more_is_begun(
    stream: Listener, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "TOGETHER", 2)
    late(redis_client, *"abcde")
    assert swept(lambda: False).ended == "the time is up"
    assert service.get_stats().by_status[MissionStatus.CANCELLED] == 0
    answers = iter([True])
    report = swept(lambda: next(answers, False))
    assert (report.cancelled, report.ended) == (2, "the time is up")
    assert [service.get_mission(each).status for each in "abc"] == ["CANCELLED", "CANCELLED", "PENDING"]
    assert swept().cancelled == 3


def test_the_function_tells_what_it_did_and_no_age_when_a_partition_is_away(
    stream: Listener, redis_client: redis.Redis, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENT_BUS_NAME", "missions")  # a dimension of what is measured
    monkeypatch.setattr(sweep_missions, "bus", lambda: None)
    fresh_sandbox(stream)
    late(redis_client, "a")
    answer = sweep_missions.handler(sample("sweep_missions"), Context("sweep_missions"))
    assert (answer["cancelled"], answer["failed"], answer["unread"]) == (1, 0, 0)
    (measured,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "OverdueAge" in line]
    assert measured["OverdueAge"][0] > (DAY - 120) * 1000
    assert measured["SweptCancelled"] == [1.0]
    plain = Connection.commands
    monkeypatch.setattr(Connection, "commands", lambda self, each: [None, *plain(self, each)[1:]])
    assert sweep_missions.handler(sample("sweep_missions"), Context("sweep_missions"))["unread"] == 1
    assert "OverdueAge" not in capsys.readouterr().out


# What it costs


def test_with_nothing_due_every_server_is_asked_once(
    stream: Listener, servers: list[Node], calls: list[list[tuple[Any, ...]]]
) -> None:
    for number in range(200):
        given: dict[str, Any] = {"deadline": time.time() + DAY} if number % 2 else {}
        service.create_mission(MissionCreate(name="n", **given))
    finished("done")
    swept()  # now it is known where all partitions are
    calls.clear()
    assert swept() == sweeper.Report()  # nothing is due
    assert len(calls) == len(servers)


def test_a_thousand_due_missions_take_few_round_trips_in_slices(
    stream: Listener, redis_client: redis.Redis, calls: list[list[tuple[Any, ...]]]
) -> None:
    deadline = time.time() + 60
    for number in range(1000):
        service.create_mission(MissionCreate(id=f"m{number}", name="n", deadline=deadline, retention=60))
        time_passes(redis_client, f"m{number}", DAY)
    calls.clear()
    assert swept().cancelled == 1000
    assert len(calls) < 20
    for number in range(1000):
        time_passes(redis_client, f"m{number}", DAY)
    begun = len(calls)
    assert swept().removed == 1000
    assert len(calls) - begun < 20
    touched = [
        sum(":mission:" in str(part) for part in command)
        for commands in calls
        for command in commands
        if command[0] in ("EVAL", "EVALSHA")
    ]
    assert max(touched) == due_missions.TOGETHER == 50
