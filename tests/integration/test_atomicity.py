"""Writes are atomic: processes that create and change the same missions at once leave a consistent store."""

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis
from missions import runtime, service
from missions.domain.errors import MissionsError, StoreUnavailable
from missions.domain.models import Claim, MissionCreate, MissionLogEntry, MissionQuery, MissionStatus
from missions.domain.writes import Write
from missions.storage import keys
from missions.storage.keys import Keys

from tests.cluster import Node
from tests.conftest import Listener, fresh_sandbox
from tests.integration.conftest import contents

OUTBOX = keys.outbox(keys.partition_of("default"))
PROCESSES = 4
MISSIONS = 25
ROUNDS = 400


def work(seed: int, outcomes: "multiprocessing.Queue[Any]") -> None:
    """One process: create and change missions at random; report every change that it won."""
    listener = Listener()
    fresh_sandbox(listener)
    chance = random.Random(seed)
    won = []
    for _ in range(ROUNDS):
        mission_id = f"m{chance.randrange(MISSIONS)}"
        try:
            match chance.randrange(4):
                case 0:
                    service.create_mission(MissionCreate(id=mission_id, name=mission_id))
                case 1:
                    service.append_log_entry(mission_id, MissionLogEntry(message="at work"))
                case _:
                    status = chance.choice(list(MissionStatus))
                    result = service.update_status(mission_id, status)
                    if result.outcome == "changed":
                        won.append((mission_id, result.value.version, str(status)))
        except MissionsError:
            pass
    outcomes.put((won, [event.model_dump(mode="json") for event in listener.events]))


def test_many_processes_on_the_same_missions_leave_one_truth(missions: None, redis_client: redis.Redis) -> None:
    spawn = multiprocessing.get_context("spawn")
    outcomes = spawn.Queue()
    processes = [spawn.Process(target=work, args=(seed, outcomes)) for seed in range(PROCESSES)]
    for process in processes:
        process.start()
    results = [outcomes.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    won = [win for wins, _ in results for win in wins]
    events = [event for _, published in results for event in published]

    shown = service.list_missions(query=MissionQuery(limit=200)).missions
    assert len(shown) == MISSIONS
    assert service.get_stats().by_status == dict.fromkeys(MissionStatus, 0) | Counter(
        mission.status for mission in shown
    )
    # One winner for each version of a mission, and one event for each change that was won.
    assert len({(mission_id, version) for mission_id, version, _ in won}) == len(won) > MISSIONS
    changed = [event["payload"] for event in events if event["type"] == "mission.status_changed"]
    assert Counter((mission_id, status) for mission_id, _, status in won) == Counter(
        (payload["mission_id"], payload["new_status"]) for payload in changed
    )
    for mission in shown:
        own = sorted(
            (event for event in events if event["payload"]["mission_id"] == mission.id),
            key=lambda event: event["meta"]["sequence"],
        )
        assert [event["meta"]["sequence"] for event in own] == list(range(1, len(own) + 1))
        moments = [event["timestamp"] for event in own]
        assert moments == sorted(moments)
        path = [e["payload"]["new_status"] for e in own if e["type"] == "mission.status_changed"]
        assert [mission.version, mission.status] == [1 + len(path), [MissionStatus.PENDING, *path][-1]]
    assert redis_client.xlen(OUTBOX) == 0


def test_each_write_leaves_its_events_in_the_outbox_when_nothing_publishes_them(
    stream: Listener, redis_client: redis.Redis, monkeypatch: Any
) -> None:
    monkeypatch.setattr(stream, "publish", lambda events: ["ThrottlingException"] * len(events))
    mission = service.create_mission(MissionCreate(name="kept")).value
    service.update_status(mission.id, MissionStatus.RUNNING)
    service.append_log_entry(mission.id, MissionLogEntry(message="kept, too"))
    page = runtime.current.outbox.read(keys.partition_of("default"), "0-0", limit=10)
    kept = [[(event.meta["sequence"], event.type) for event in entry.envelopes()] for entry in page.entries]
    assert kept == [
        [(1, "mission.log_appended"), (2, "mission.created")],
        [(3, "mission.log_appended"), (4, "mission.status_changed")],
        [(5, "mission.log_appended")],
    ]


def test_without_a_bus_nothing_is_put_in_the_outbox(missions: None, redis_client: redis.Redis) -> None:
    mission = service.create_mission(MissionCreate(name="quiet")).value
    service.update_status(mission.id, MissionStatus.RUNNING)
    assert not redis_client.exists(OUTBOX)
    assert service.get_stats().total == 1


def finish(status: MissionStatus) -> None:
    service.update_status("a", MissionStatus.RUNNING)
    service.update_status("a", status)


ACTIONS: dict[str, Callable[[Write], object]] = {
    "create": lambda write: service.create_mission(
        MissionCreate(id="a", name="a", tags=["t"], retries=1, timeout=60, not_before=1, deadline=4e9), write
    ),
    "start": lambda write: service.update_status("a", MissionStatus.RUNNING, write=write),
    "claim": lambda write: service.claim_mission(Claim(), write),
    "complete": lambda write: service.update_status("a", MissionStatus.COMPLETED, write=write),
    "fail and try again": lambda write: service.update_status("a", MissionStatus.FAILED, write=write),
    "retry": lambda write: service.retry_mission("a", write),
    "delete": lambda _: service.delete_mission("a"),
    "heartbeat": lambda _: service.heartbeat("a"),
    "log": lambda write: service.append_log_entry("a", MissionLogEntry(message="m"), write),
}
BEFORE: dict[str, Callable[[], object]] = {
    "complete": lambda: service.update_status("a", MissionStatus.RUNNING),
    "fail and try again": lambda: service.update_status("a", MissionStatus.RUNNING),
    "retry": lambda: service.update_status("a", MissionStatus.CANCELLED),
    "delete": lambda: finish(MissionStatus.COMPLETED),
    "heartbeat": lambda: service.update_status("a", MissionStatus.RUNNING),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "key",
    [
        "mission:a",
        "log:a",
        "outbox",
        "stats",
        "durations",
        "index",
        "queue",
        "due",
        "token:key:k",
        "namespaces",
    ],
)
def test_a_key_of_a_wrong_type_is_found_before_anything_is_written(
    stream: Listener, servers: list[Node], redis_client: redis.Redis, action: str, key: str
) -> None:
    if action != "create":
        ACTIONS["create"](Write())
    BEFORE.get(action, lambda: None)()
    partition = keys.partition_of("default")
    names = {"outbox": OUTBOX, "namespaces": keys.namespaces(partition), "due": keys.due(partition)}
    name = names.get(key, Keys("default").mission("").removesuffix("mission:") + key)
    redis_client.delete(name)
    redis_client.rpush(name, "x") if key in ("mission:a", "token:key:k") else redis_client.set(name, "x")
    before = contents(servers)
    try:
        ACTIONS[action](Write(key="k"))
    except StoreUnavailable:
        assert contents(servers) == before
    else:
        assert key in UNUSED[action], "it was in the way and not seen"


# Keys that an action does not touch. A claim passes over a mission that it cannot read.
FOUND = {"index", "queue", "due"}
UNUSED = {
    "create": {"durations"},
    "start": {"durations", "namespaces"},
    "claim": {"durations", "namespaces", "mission:a"},
    "complete": {"namespaces"},
    "fail and try again": {"namespaces"},
    "retry": {"durations", "namespaces", "queue", "log:a"},
    "delete": {"namespaces", "queue", "outbox", "token:key:k"},
    "heartbeat": {*FOUND, "log:a", "outbox", "durations", "token:key:k", "namespaces"},
    "log": {*FOUND, "durations", "namespaces"},
}
