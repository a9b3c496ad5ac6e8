"""What happens to nodes of a cluster under load, over plain connections and over TLS with a password.

Three primaries have a replica each. `System.account` is the proof; where a replica takes over without the last writes,
which asynchronous replication allows, it counts what is lost, and proves that what is there is whole.
"""

import itertools
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple
from typing import Any

import pytest
from missions import runtime, service, sweeper
from missions.domain.errors import StoreUnavailable
from missions.domain.models import Claim, MissionCreate, MissionStatus
from missions.domain.writes import Write
from missions.publishing import relay
from missions.publishing.eventbridge import EventBridge
from missions.storage.keys import Keys
from missions.storage.link import Link

from functions.operate_events import app as operate_events
from functions.relay_events import app as relay_events
from local.doubles.eventbridge import StrictEventBridge
from local.runtime_client import Context
from tests.cluster import Cluster, Endpoint, Node, cluster, wait_until
from tests.conftest import fresh_sandbox, invoke, sample
from tests.faults.conftest import FAULTS, STALLED, row
from tests.faults.harness import System, slot_of, sweep, time_passes

pytestmark = pytest.mark.usefixtures("a_connection_for_each_thread")
TENANTS = [f"tenant-{number}" for number in range(24)]


@pytest.fixture(params=["", " (TLS)"])
def three(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Three primaries with a replica each."""
    with cluster(3, 1, tls=bool(request.param)) as made:
        monkeypatch.setenv("REDIS_URL", made.url)
        fresh_sandbox()
        yield made
    fresh_sandbox()


@pytest.fixture
def system(bus: StrictEventBridge, three: Cluster, request: pytest.FixtureRequest) -> Iterator[System]:
    system = System(bus, TENANTS)
    yield system
    name, _, kind = request.node.name.removeprefix("test_").partition("[")
    if system.figures.operations:
        row(request, FAULTS, name.replace("_", " ") + kind.removesuffix("]"), *astuple(system.figures))


def somewhere_else(three: Cluster, namespace: str) -> tuple[Node, Node]:
    """The primary that has this namespace, and another one."""
    source = three.owner(Keys(namespace).stats)
    return source, next(node for node in three.nodes[:3] if node is not source)


def lose(three: Cluster, primary: int) -> None:
    """A primary is killed, if it was not before; this returns when its replica has taken over."""
    (replica,) = three.replicas(primary)
    three.nodes[primary].kill()
    wait_until(lambda: three.nodes[replica].is_primary)
    wait_until(three.ready)


def test_a_primary_is_killed_and_its_replica_takes_over(
    system: System, three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.run_through(lambda: lose(three, 0))  # the host of the URL: the others have to be asked
    assert system.figures.slowest < 3
    assert system.figures.unknown > 0
    monkeypatch.setenv("REDIS_URL", three.url_of(three.nodes[1].port))
    system.account(lossy=True)


def test_a_replica_without_the_last_second_takes_over(system: System, three: Cluster) -> None:
    """What is lost is lost whole: write, log entry, events that wait, token. Its sequences are given a second time."""
    tenant = next(each for each in TENANTS if three.owner(Keys(each).stats) is three.nodes[1])
    write = Write(tenant, key="once")

    def lose_a_second() -> None:
        replica = three.nodes[three.replicas(1)[0]]
        replica.signal(signal.SIGSTOP)
        three.nodes[1].client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")
        assert service.create_mission(MissionCreate(id="lost", name="lost"), write).outcome == "created"
        time.sleep(1)
        three.nodes[1].kill()
        replica.signal(signal.SIGCONT)
        lose(three, 1)

    system.run_through(lose_a_second)
    assert system.figures.slowest < 3
    again = service.create_mission(MissionCreate(id="lost", name="lost"), write)
    assert (again.outcome, again.replayed) == ("created", False)
    system.account(lossy=True)
    assert system.figures.lost > 0
    assert system.figures.twice > 0


def test_new_tenants_write_while_eventbridge_throttles_and_then_any_shard_fails_over(
    system: System, three: Cluster
) -> None:
    system.bus.fault = "throttle"
    system.namespaces = []
    for primary in (2, 1):
        system.namespaces = [*system.namespaces, *(f"new-{primary}-{number}" for number in range(12))]
        system.run_through(lambda primary=primary: lose(three, primary))  # type: ignore[misc]
    assert len({slot_of(each) * 3 // 16384 for each in system.namespaces}) == 3
    three.fail_over(0)
    system.bus.fault = ""
    assert system.figures.slowest < 3
    system.account(lossy=True)


def test_a_replica_takes_over_in_good_order(system: System, three: Cluster) -> None:
    def one_after_the_other() -> None:
        for primary in range(3):
            three.fail_over(primary)

    system.run_through(one_after_the_other)
    assert system.figures.slowest < 3
    system.account()


def test_slots_move_key_by_key(system: System, three: Cluster) -> None:
    moving = TENANTS[:3]
    elsewhere = [each for each in TENANTS if slot_of(each) not in map(slot_of, moving)]

    def move() -> None:
        for namespace in moving:
            for number, _ in enumerate(three.move(slot_of(namespace), *somewhere_else(three, namespace))):
                # Other slots are not held up. This one's writes are refused while they need keys of both sides.
                service.create_mission(MissionCreate(name="elsewhere"), Write(elsewhere[number % len(elsewhere)]))
                if namespace == moving[0]:
                    time.sleep(0.05)

    system.run_through(move)
    assert system.figures.slowest < 3
    system.account()


def test_slots_move_at_once(system: System, three: Cluster) -> None:
    def move() -> None:
        for namespace in TENANTS[:6]:
            three.move_at_once(slot_of(namespace), *somewhere_else(three, namespace))

    system.run_through(move)
    assert system.figures.slowest < 3
    system.account()


def test_all_nodes_are_replaced_behind_the_same_endpoint(
    system: System, three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Endpoint(three.nodes[0].port) as endpoint:
        monkeypatch.setenv("REDIS_URL", three.url_of(endpoint.port))
        fresh_sandbox()
        system.run_through(lambda: None)
        for primary in range(3):
            three.fail_over(primary)
        endpoint.to = three.nodes[3].port
        for node in three.nodes[:3]:
            node.kill()
        for namespace in TENANTS:  # the sandbox is warm, and all that it knows is away
            service.get_stats(namespace)
        system.run_through(lambda: None)
        assert (system.figures.unknown, system.figures.slowest < 3) == (0, True)
        system.account()


def test_what_a_stalled_node_has_waits_and_the_relay_publishes_what_the_others_have(
    system: System, three: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MIN_AGE", 0)
    runtime.current.emitter.pause()
    for tenant in TENANTS:
        service.create_mission(MissionCreate(name="waits"), Write(tenant))
    away = [each for each in TENANTS if three.owner(Keys(each).stats) is three.nodes[2]]
    for node in three.nodes:  # nobody takes over, and the others go on
        node.client.config_set("cluster-replica-no-failover", "yes", "cluster-require-full-coverage", "no")
    three.nodes[2].signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        report = relay_events.handler({}, Context("relay_events"))
        assert time.monotonic() - began < 10
        assert report["published"] == 2 * (len(TENANTS) - len(away))
        assert report["unread"] > len(away)
        assert "OutboxAge" not in capsys.readouterr().out  # so that the alarm on missing data goes off
        count = operate_events.handler({"action": "count"}, Context("operate_events"))
        assert (count["undelivered"], count.get("unread_partitions")) == (0, report["unread"]), count
        for request in ({"action": "list", "what": "undelivered"}, {"action": "namespaces"}, {"action": "redeliver"}):
            answer = operate_events.handler(request, Context("operate_events"))
            assert answer.get("unread_partitions") == report["unread"], answer  # what is missing is told
        assert answer["ended"] == "some partitions did not answer; call again"
        for tenant, known in ((away[0], {"unread_partitions": 1}), (next(t for t in TENANTS if t not in away), {})):
            answer = operate_events.handler({"action": "redeliver", "namespace": tenant}, Context("operate_events"))
            assert {name: answer[name] for name in answer if name == "unread_partitions"} == known
    finally:
        three.nodes[2].signal(signal.SIGCONT)
    wait_until(three.ready)
    assert relay_events.handler({}, Context("relay_events"))["published"] == 2 * len(away)
    assert "OutboxAge" in capsys.readouterr().out
    system.account()


def test_a_node_that_stalls_while_the_relay_publishes_costs_no_event(
    system: System, three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.current.emitter.pause()
    for tenant in TENANTS:
        service.create_mission(MissionCreate(name="waits"), Write(tenant))
    publish = EventBridge.publish

    def stalling(*args: Any) -> Any:
        three.nodes[2].signal(signal.SIGSTOP)
        return publish(*args)

    monkeypatch.setattr(EventBridge, "publish", stalling)
    began = time.monotonic()
    report = system.drain()
    assert time.monotonic() - began < 15
    three.nodes[2].signal(signal.SIGCONT)
    monkeypatch.setattr(EventBridge, "publish", publish)
    assert report.published == 2 * len(TENANTS)  # what could not be settled is published once more
    assert report.unread > 0
    wait_until(three.ready)
    system.account()
    assert system.figures.duplicates < 2 * len(TENANTS)  # what it had received it settles when it goes on


def test_a_slot_that_is_stuck_in_its_move_stops_nobody(system: System, three: Cluster) -> None:
    runtime.current.emitter.pause()
    for tenant in TENANTS:
        for _ in range(3):
            service.create_mission(MissionCreate(name="waits"), Write(tenant))
    for tenant in TENANTS[:4]:
        source, target = somewhere_else(three, tenant)
        next(three.move(slot_of(tenant), source, target))  # the first key has moved, and nothing follows
    began = time.monotonic()
    report = system.drain()
    assert time.monotonic() - began < 10
    assert (report.published, report.unread) == (6 * len(TENANTS), 0)
    assert system.drain().published == 0
    for tenant in TENANTS[:4]:
        source, target = somewhere_else(three, tenant)
        for _ in three.move(slot_of(tenant), source, target):
            pass
    system.account()


def test_a_relay_that_brings_its_scripts_to_slow_nodes_stops_in_time(
    system: System, three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.current.emitter.pause()
    for number in range(200):
        service.create_mission(MissionCreate(name="waits"), Write(f"many-{number}"))
    for node in three.nodes[:3]:
        node.client.script_flush()
    exchange = Link.exchange

    def slowly(link: Link, *args: Any) -> Any:
        time.sleep(0.3)
        return exchange(link, *args)

    monkeypatch.setattr(Link, "exchange", slowly)
    began = time.monotonic()
    assert system.drain().published == 400
    assert time.monotonic() - began < 20
    monkeypatch.setattr(Link, "exchange", exchange)
    system.namespaces = [f"many-{number}" for number in range(200)]
    system.account()


def test_a_mission_is_read_while_its_slot_moves_key_by_key(system: System, three: Cluster) -> None:
    tenant = TENANTS[0]
    service.create_mission(MissionCreate(id="moves", name="moves"), Write(tenant))
    for _ in three.move(slot_of(tenant), *somewhere_else(three, tenant)):
        assert service.get_mission("moves", tenant).name == "moves"
    system.account()


def test_missions_are_claimed_and_swept_once_while_replicas_take_over_and_slots_move(
    system: System, three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "TOGETHER", 10)
    system.namespaces = TENANTS[:6]
    ids = [
        (f"{kind}-{number}-{tenant}", tenant)
        for tenant in system.namespaces
        for kind in ("late", "free")
        for number in range(8)
    ]
    for mission_id, tenant in ids:
        given: dict[str, Any] = {"heartbeat_timeout": 60, "retries": 1} if mission_id.startswith("late") else {}
        service.create_mission(MissionCreate(id=mission_id, name="n", **given), Write(tenant))
        system.missions.add(mission_id)
        if given:
            service.update_status(mission_id, MissionStatus.RUNNING, write=Write(tenant))
            time_passes(three.owner(Keys(tenant).stats).client, mission_id, 3600, tenant)
    over = threading.Event()
    taken: list[str] = []

    def claims(number: int) -> None:
        for tenant in itertools.cycle([*system.namespaces[number:], *system.namespaces[:number]]):
            if over.is_set():
                return
            with suppress(StoreUnavailable):
                if claimed := service.claim_mission(Claim(lease=3600), Write(tenant)):
                    taken.append(claimed.value.id)
                    system.versions.add((claimed.value.id, 2, "RUNNING"))
            time.sleep(0.01)

    def sweeps() -> None:
        while not over.is_set():
            with suppress(StoreUnavailable):
                sweep()

    with ThreadPoolExecutor(4) as threads:
        done = [threads.submit(claims, 0), threads.submit(claims, 3), threads.submit(sweeps), threads.submit(sweeps)]
        try:
            for number, tenant in enumerate(system.namespaces[:4]):
                if number < 3:
                    three.fail_over(number)
                primaries = [node for node in three.nodes if node.is_primary]
                source = three.owner(Keys(tenant).stats)
                target = primaries[(primaries.index(source) + 1) % 3]
                if number % 2:
                    three.move_at_once(slot_of(tenant), source, target)
                else:
                    for _ in three.move(slot_of(tenant), source, target):
                        pass
        finally:
            over.set()
        for each in done:
            each.result()
    while sweep().failed:
        pass
    assert len(set(taken)) == len(taken)
    for tenant in system.namespaces:
        stats = service.get_stats(tenant)
        assert (stats.all_time.failed, stats.all_time.created) == (8, 24)
    system.account()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_with_any_number_of_ten_nodes_stalled_every_answer_comes_within_three_seconds(
    bus: StrictEventBridge, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tls: bool
) -> None:
    tenants = {slot_of(f"tenant-{number}") * 10 // 16384: f"tenant-{number}" for number in range(200)}
    operations = ["create_mission", "update_status", "append_log_entry", "get_mission", "list_missions", "get_log"]

    def ask(operation: str, node: int) -> tuple[int, str | None, float]:
        claims = {"authorizer": {"jwt": {"claims": {"tenant": tenants[node]}}}}
        began = time.monotonic()
        answer = invoke(operation, requestContext=sample(operation)["requestContext"] | claims)
        return answer.status, answer.headers.get("retry-after"), time.monotonic() - began

    with (
        cluster(10, tls=tls, cluster_node_timeout=60_000, cluster_require_full_coverage="no") as ten,
        ThreadPoolExecutor(10) as threads,
    ):
        monkeypatch.setenv("REDIS_URL", ten.url)
        monkeypatch.setenv("NAMESPACE_CLAIM", "tenant")
        fresh_sandbox()
        assert [ask("create_mission", node)[0] for node in range(10)] == [201] * 10
        for stalled in range(11):
            if stalled:
                ten.nodes[-stalled].signal(signal.SIGSTOP)
            if tls and stalled not in (0, 5, 10):
                continue
            for kind in ("warm", "fresh"):
                if kind == "fresh":
                    fresh_sandbox()
                operation = operations[stalled % len(operations)]
                answers = list(threads.map(ask, [operation] * 10, range(10)))
                for node, (status, retry_after, _) in enumerate(answers):
                    assert (status, retry_after) == (503, "1") if node >= 10 - stalled else status < 300
                slowest = max(seconds for *_, seconds in answers)
                name = f"{stalled:2} of 10 nodes, {operation} in a {kind} sandbox{' (TLS)' * tls}"
                row(request, STALLED, name, slowest)
                assert slowest < 3
