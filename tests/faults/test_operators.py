"""Operators see what waits and what is dead, and send it again, while the relay is busy or not."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from missions import runtime, service
from missions.aws import Refused
from missions.domain import events
from missions.domain.events import Event
from missions.domain.models import MissionCreate
from missions.domain.writes import Write
from missions.publishing import operators
from missions.storage import keys
from missions.storage.keys import partition_of

from functions.operate_events import app as operate_events
from local.runtime_client import Context
from tests.conftest import sample
from tests.faults.harness import OneServer, stream

HERE = partition_of("default")
MOMENT = 1703001234500000
NEIGHBOUR = next(name for name in (f"n{n}" for n in range(10_000)) if partition_of(name) == HERE)


def ask(**request: Any) -> Any:
    return operate_events.handler(request, Context("operate_events"))


def fields(message: str, namespace: str = "default", error: str = "MalformedDetail") -> dict[str, str]:
    draft = events.draft("mission.log_appended", {"log_level": "info", "message": message})
    facts = f"namespace={namespace} mission=m moment={MOMENT} sequence=1"
    return {"facts": facts, "drafts": json.dumps([draft]), "error": error}


def bury(system: OneServer, *entries: dict[str, str], partition: int = HERE) -> list[str]:
    with system.redis.pipeline() as pipeline:
        for each in entries:
            pipeline.xadd(keys.dead(partition), each)  # type: ignore[arg-type]
        return list(pipeline.execute())


def dead(system: OneServer) -> int:
    return int(system.redis.xlen(keys.dead(HERE)))


def test_a_sample_invocation_counts_what_waits_and_what_is_dead(system: OneServer) -> None:
    runtime.current.emitter.pause()
    service.create_mission(MissionCreate(name="waits"))
    bury(system, fields("a"), fields("b"))
    answer = operate_events.handler(sample("operate_events"), Context("operate_events"))
    assert (answer["undelivered"], answer["dead"]) == (1, 2)
    assert 0 <= answer["oldest_seconds"] < 60


def test_what_is_undelivered_is_listed_with_its_events(system: OneServer) -> None:
    runtime.current.emitter.pause()
    mission = service.create_mission(MissionCreate(name="waits")).value
    (entry,) = ask(action="list", what="undelivered")["entries"]
    assert entry["namespace"] == "default"
    assert [event["type"] for event in entry["events"]] == ["mission.log_appended", "mission.created"]
    assert entry["events"][1]["payload"]["mission_id"] == mission.id


def test_a_list_is_read_page_by_page_across_partitions(system: OneServer) -> None:
    names = ["default", "acme", "globex"]
    for name in names:
        bury(system, *(fields(f"{name} {n}", name) for n in range(7)), partition=partition_of(name))
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = ask(action="list", limit=2, **cursor)
        assert 0 < len(page["entries"]) <= 2
        found += [entry["events"][0]["payload"]["message"] for entry in page["entries"]]
        if not page["cursor"]:
            break
        cursor = {"cursor": page["cursor"]}
    assert sorted(found) == sorted(f"{name} {n}" for name in names for n in range(7))
    assert [each["error"] for each in ask(action="list", namespace="acme")["entries"]] == ["MalformedDetail"] * 7


def test_a_list_is_never_larger_than_lambda_can_answer(system: OneServer) -> None:
    bury(system, *(fields('"' * 100_000 + str(n)) for n in range(50)))
    seen = 0
    cursor: dict[str, str] = {}
    while True:
        page = ask(action="list", limit=1000, **cursor)
        assert len(json.dumps(page)) < 6_000_000
        seen += len(page["entries"])
        if not page["cursor"]:
            break
        cursor = {"cursor": page["cursor"]}
    assert seen == 50


def test_what_is_redelivered_is_published_in_the_same_call(system: OneServer) -> None:
    bury(system, fields("a"), fields("b"))
    answer = ask(action="redeliver")
    assert answer == {"revived": 2, "published": 2, "died": 0, "left": 0, "ended": "all were tried"}
    assert sorted(event["payload"]["message"] for event in system.bus.events) == ["a", "b"]
    assert (dead(system), system.redis.xlen(keys.outbox(HERE))) == (0, 0)


def test_only_what_is_named_is_redelivered(system: OneServer) -> None:
    one, two, _ = bury(system, fields("a"), fields("b"), fields("other", NEIGHBOUR))
    other = NEIGHBOUR
    assert ask(action="redeliver", namespace=other, entry_ids=[one, two])["revived"] == 0  # they are not of it
    assert ask(action="redeliver", namespace="default", entry_ids=[two, two, "1-1"])["revived"] == 1
    assert [event["payload"]["message"] for event in system.bus.events] == ["b"]
    assert dead(system) == 2


def test_dead_letters_of_a_neighbour_in_the_partition_are_in_nobodys_way(system: OneServer) -> None:
    bury(system, *(fields(str(n), NEIGHBOUR) for n in range(1001)), fields("mine"))
    assert len(ask(action="list", namespace="default")["entries"]) == 1
    assert ask(action="redeliver", namespace="default")["published"] == 1
    assert dead(system) == 1001


def test_what_is_refused_again_is_dead_again_and_unchanged(system: OneServer) -> None:
    broken = {"facts": "nonsense", "drafts": "{", "error": "MalformedDetail", "more": "kept"}
    bury(system, fields("x") | {"drafts": "{"}, broken)
    for _ in range(3):
        assert (answer := ask(action="redeliver"))["revived"] == 2
        assert (answer["published"], answer["died"]) == (0, 2)
    ((_, first), (_, second)) = stream(system.redis, keys.dead(HERE))
    assert first["drafts"] == "{"
    assert second | {"error": ""} == broken | {"error": ""}


def test_while_eventbridge_fails_nothing_is_revived(system: OneServer) -> None:
    bury(system, fields("a"), fields("b"))
    system.bus.fault = "throttle"
    with pytest.raises(Refused, match="ThrottlingException"):
        ask(action="redeliver")
    assert (dead(system), system.redis.xlen(keys.outbox(HERE))) == (2, 0)


def test_what_is_not_accepted_yet_waits_for_the_relay(system: OneServer) -> None:
    bury(system, fields("a"), fields("b"))

    class Failing:
        def publish(self, sent: Sequence[Event]) -> list[str | None]:
            return ["InternalFailure"] * len(sent)

    answer = operators.answer({"action": "redeliver"}, runtime.current.outbox, Failing)
    assert (answer["revived"], answer["published"], answer["left"]) == (2, 0, 2)
    assert (dead(system), system.redis.xlen(keys.outbox(HERE))) == (0, 2)


def test_no_more_are_redelivered_than_asked_for(system: OneServer) -> None:
    bury(system, *(fields(str(n)) for n in range(5)))
    assert ask(action="redeliver", limit=3)["revived"] == 3
    assert dead(system) == 2


def test_namespaces_are_those_that_have_missions(system: OneServer) -> None:
    for name in ("zeta", "acme", "acme"):
        service.create_mission(MissionCreate(name="m"), Write(name))
    assert ask(action="namespaces") == {"namespaces": ["acme", "zeta"]}


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({}, "action"),
        ([], "the payload"),
        (None, "the payload"),
        ({"action": "explode"}, "action"),
        ({"action": "list", "namespcae": "x"}, "namespcae"),
        ({"action": "list", "limit": 0}, "limit"),
        ({"action": "list", "limit": "many"}, "limit"),
        ({"action": "list", "what": "alive"}, "what"),
        ({"action": "list", "cursor": "x"}, "cursor"),
        ({"action": "redeliver", "entry_ids": ["1-1"]}, "namespace"),
        ({"action": "redeliver", "namespace": "a b"}, "namespace"),
        ({"action": "redeliver", "namespace": "default", "entry_ids": ["\u0661-1"]}, "entry_ids.0"),
        ({"action": "redeliver", "namespace": "default", "entry_ids": ["1" * 21 + "-1"]}, "entry_ids.0"),
    ],
)
def test_a_payload_that_makes_no_sense_is_answered_with_what_is_wrong_and_changes_nothing(
    system: OneServer, payload: Any, named: str
) -> None:
    bury(system, fields("a"))
    answer = operate_events.handler(payload, Context("operate_events"))
    assert named in answer["error"]
    assert not re.search("pattern|Input|inputs|dictionary", answer["error"])  # these are pydantic's words
    assert answer["examples"] == operators.EXAMPLES
    assert dead(system) == 1
    assert system.bus.calls == 0


@pytest.mark.parametrize("example", operators.EXAMPLES, ids=lambda example: example["action"])
def test_each_example_is_one_that_is_taken(system: OneServer, example: dict[str, Any]) -> None:
    assert "error" not in ask(**example)


def test_without_a_bus_nothing_is_revived(system: OneServer) -> None:
    bury(system, fields("a"))
    system.bus.buses.clear()
    with pytest.raises(RuntimeError, match="does not exist"):
        ask(action="redeliver")
    assert dead(system) == 1


@pytest.mark.parametrize("read", ["read", "read_dead"])
def test_a_page_ends_at_two_megabytes(system: OneServer, read: str) -> None:
    partition = partition_of("default")
    for _ in range(50):
        entry: dict[Any, Any] = fields("x" * 100_000)
        system.redis.xadd({"read": keys.outbox, "read_dead": keys.dead}[read](partition), entry)
    page = getattr(runtime.current.outbox, read)(partition, "0-0", 1000)
    assert 15 < len(page.entries) < 25
    assert page.after
