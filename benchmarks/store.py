"""What a mission costs the server: processor time of its creation, on a cluster's primaries too, and memory once it is
finished.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import redis
from missions.storage.keys import PARTITIONS, due, partition_of
from missions.storage.scripts import Script

from benchmarks import specification, version1, version2, world
from benchmarks.recording import ATTEMPT, FAR, ID, TOKEN, commands, lives, new, pipelined, record, replay, spread
from benchmarks.report import Report, Row
from benchmarks.timing import Batch, Sample, check, side_by_side

NOTHING = Script.of("#!lua\nreturn {'created', 0}")
# Version 2 took at most 0.85 of version 1
TARGETS = {"version 2": 1.25, "version 1": 0.85 * 1.25, "all its 10 commands in MULTI/EXEC": 1.8}
CLIENTS = 50
DUE = due(world.NAMES.partition)
LIFE = ("create", "start", "log", "log", "log", "complete")
Commands = list[list[str]]
Ways = dict[str, tuple[Callable[[str], Commands], Callable[[], bool]]]  # a mission's commands; whether all were done


def measure_cpu(report: Report, *, quick: bool) -> None:
    """Processor time of the server's main thread, which limits what a store can take."""
    count, rounds = (1_000, 20) if quick else (2_500, 40)
    with world.server() as client:
        for script in (version1.CREATE, version2.CREATE, NOTHING):
            client.script_load(script.text)
        for size in (40, 2048):
            report.say(f"  {count * rounds:,} creates each with {size:,} B")
            creating(report, client, size, count, rounds)
        primaries(report, 500, 20 if quick else 60)
        throughput(report, client, count, rounds)


def creating(report: Report, client: redis.Redis, size: int, count: int, rounds: int) -> None:
    """Creates in pipelines: ours, version 1's, and what ours calls, in MULTI/EXEC."""
    (create,) = record(size)["create"]
    content = world.content(size)
    client.response_callbacks.pop("TIME", None)  # it cannot read that TIME is queued

    def transaction(length: int, *, only_writing: bool) -> Callable[[str], Commands]:
        client.flushall()
        replay(client, [create.filled(new("first"))])  # it names the namespace, and only the first does
        once = create.filled(new(ID) | {"token": ATTEMPT})
        called = commands(client, lambda: replay(client, [once]), lua=True, only_writing=only_writing)
        check(len(called) == length, f"a create calls {len(called)} commands")

        def made(mission_id: str) -> Commands:
            gaps = new(mission_id, moment=f"{time.time_ns() // 1000:016}")
            return [["MULTI"], *(each.filled(gaps) for each in called), ["EXEC"]]

        return made

    def stored() -> bool:
        return client.zcard(world.NAMES.index) / 2 == client.xlen(world.OUTBOX) == count  # a status and a name each

    ways: Ways = {
        "a create": (lambda each: [create.filled(new(each))], stored),
        "version 2": (lambda each: [version2.create_call(each, content)],
                      lambda: client.zcard(version2.PENDING) == client.xlen(version2.OUTBOX) == count),
        "version 1": (lambda each: [version1.create_call(each, content)],
                      lambda: client.zcard(version1.PENDING) == client.xlen(version1.OUTBOX) / 2 == count),
        "its 6 writing commands in MULTI/EXEC": (transaction(6, only_writing=True), stored),
        "all its 10 commands in MULTI/EXEC": (transaction(10, only_writing=False), stored),
        "a script that does nothing": (lambda each: [["EVALSHA", NOTHING.sha, *create.filled(new(each))[2:]]],
                                       lambda: client.dbsize() == 0),
    }  # fmt: skip
    samples = _side_by_side(client, ways, partial(pipelined, client), count, rounds)
    ours = samples.pop("a create")
    for name, theirs in samples.items():
        report.compare("server CPU", f"a create with {size:,} B", {"a create": ours, name: theirs}, TARGETS.get(name))


def throughput(report: Report, client: redis.Redis, count: int, rounds: int) -> None:
    """Creates without pipelines, on 50 connections with one request each at a time, against plain SET."""
    (create,) = record()["create"]
    connections: list[Any] = [client.connection_pool.make_connection() for _ in range(CLIENTS)]

    def run(batch: Commands) -> None:
        for first in range(0, len(batch), CLIENTS):
            for connection, command in zip(connections, batch[first : first + CLIENTS], strict=True):
                connection.send_command(*command)
            for connection in connections:
                connection.read_response()

    ways: Ways = {
        "creates": (lambda each: [create.filled(new(each))], lambda: client.xlen(world.OUTBOX) == count),
        "SET": (lambda each: [["SET", f"plain:{each}", "xxx"]], lambda: client.dbsize() == count),
    }
    samples = _side_by_side(client, ways, run, count, rounds)
    for each in connections:
        each.disconnect()
    creates, sets = (1 / sample.median for sample in samples.values())
    name, against = f"creates, one core, {CLIENTS} clients", f"SET {sets:,.0f} a second"
    report.add(Row("throughput", name, f"{creates:,.0f} a second", against, creates / sets, 0.25, ">="))


def primaries(report: Report, count: int, rounds: int) -> None:
    """Creates all over many namespaces, each sent to the primary that has it, against the same on one server.

    Two cores cannot show the throughput of three servers; what a create costs each of them says it.
    """
    names = world.new_ids(count)

    def batch(client: redis.Redis, own: Sequence[str], _: int) -> Batch:
        creates = list(spread(own[number % len(own)] for number in range(count)))
        yield partial(replay, client), [creates]
        tokens = sum(pipelined(client, [["UNLINK", each[TOKEN]] for each in creates]))
        check(tokens == count, f"{tokens} creates are remembered, not {count}")

    with world.server() as alone, world.cluster() as cluster:
        stores: dict[str, tuple[redis.Redis, Sequence[str]]] = {"one server": (alone, names)}
        for number, client in enumerate(cluster):
            own = [each for each in names if world.owner(partition_of(each)) == number]
            stores[f"primary {number + 1} of {len(cluster)}"] = client, own
        for client, namespaces in stores.values():
            replay(client, spread(namespaces))  # the first create of a namespace does more
        ways = {name: partial(batch, *store) for name, store in stores.items()}
        samples = side_by_side(ways, rounds, 1, 0, lambda: sum(map(_used, (alone, *cluster))) / count)
    one = samples.pop("one server")
    for name, sample in samples.items():
        report.compare("server CPU", f"a create, {name}", {name: sample, "one server": one})
    shares = Counter(map(world.owner, range(PARTITIONS)))
    busiest = max(sample.median * shares[number] / PARTITIONS for number, sample in enumerate(samples.values()))
    name = f"{len(shares)} primaries, by CPU per create and a core each, not by the clock"
    against = f"one server {1 / one.median:,.0f} a second"
    report.add(Row("throughput", name, f"{1 / busiest:,.0f} a second", against, one.median / busiest))


def _side_by_side(
    client: redis.Redis, ways: Ways, run: Callable[[Commands], Any], count: int, rounds: int
) -> dict[str, Sample]:
    """The server's processor time for one mission."""

    def batch(name: str, make: Callable[[str], Commands], done: Callable[[], bool], _: int) -> Batch:
        client.flushall()
        yield run, [[command for each in world.new_ids(count) for command in make(each)]]
        check(done(), f"{name}: not all of it is in the store")

    contenders = {name: partial(batch, name, *way) for name, way in ways.items()}
    return side_by_side(contenders, rounds, 1, 0, lambda: _used(client) / count)


def _used(client: redis.Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user_main_thread"] + used["used_cpu_sys_main_thread"])


def measure_memory(report: Report, *, quick: bool) -> None:
    """A mission that is finished, its events published and its tokens gone, against the specification's; and what some
    parts of it take.
    """
    count = 4_000 if quick else 20_000
    ids = world.new_ids(count)
    with world.server() as client:

        def taken(work: Callable[[], Any]) -> float:
            before = _still(client)
            work()
            return (_still(client) - before) / count

        def stored(
            steps: Sequence[str] = LIFE, own: Sequence[str] = ids, *, events: bool = False, tokens: bool = False,
            **options: Any,
        ) -> float:  # fmt: skip
            """What missions leave, without the events that are published and the tokens that are forgotten."""

            def write() -> None:
                replay(client, lives(own, steps, **options), forget=not tokens)
                if not events:
                    client.delete(world.OUTBOX)

            client.flushall()
            return taken(write)

        def add(
            name: str, size: float, against: str = "", ratio: float | None = None, most: float | None = None
        ) -> None:
            report.add(Row("memory", name, f"{size:,.0f} B", against, ratio, most))

        for size in (135, 300, 2048):
            client.flushall()
            spec = taken(partial(specification.lives, client, ids, size))
            check(client.llen(specification.LOG + ids[-1]) == len(LIFE), "the specification's log is not whole")
            check(client.scard(specification.INDEX) == count, "the specification's index is not whole")
            ours = stored(size=size)
            _check_lives(client, ids, size, keys=2 * count + 5)
            named = -taken(lambda: client.zremrangebylex(world.NAMES.index, "[n", "(o"))
            check(client.zcard(world.NAMES.index) == count, "the names were not in the index")
            filed = -taken(lambda: client.delete(DUE))
            # What the specification's service has, too, is compared; to find by name and to remove are ours alone.
            alike, against = ours - named - filed, f"specification {spec:,.0f} B"
            add(f"a mission of {size:,} B, done", alike, against, alike / spec, 1.1)
            add("with name and retention", ours, against, ours / spec)
            if size == 135:
                add("its name in the index", named)
                add("that its retention is due", filed)
                with_events = stored(events=True)
                check(client.xlen(world.OUTBOX) == len(LIFE) * count, "the events are not in the outbox")
                everything = stored(events=True, tokens=True)
                _check_lives(client, ids, size, keys=(2 + len(LIFE)) * count + 6)
                add("its 9 events in the outbox", with_events - ours, "until published")
                add("its 6 tokens", everything - with_events, "a minute; a day, with Idempotency-Key")
        created, tagged = LIFE[:1], (("tags", ("env=prod1",)),)
        # An index grows in steps, each to twice the room, so what a tag takes is a mean of places between two steps.
        counts = [round(count * 2 ** (quarter / 4 - 1)) for quarter in range(4)]
        grown = [-stored(created, ids[:each]) + stored(created, ids[:each], also=tagged) for each in counts]
        check(client.zcard(world.NAMES.index) == 3 * counts[-1], "the tags are not in the index")
        tag = sum(grown) * count / sum(counts)
        add("a tag of 9 B", tag, "", tag, 160)
        stored(created, also=(("not_before", int(FAR) / 1e6),))
        check(client.zcard(world.NAMES.queue) == count, "the queue is not whole")
        add("its place in the queue, with not_before", -taken(lambda: client.delete(world.NAMES.queue)))


def _still(client: redis.Redis) -> int:
    """used_memory, when rehashing and freeing have ended and this connection's buffers are small again."""
    client.connection_pool.disconnect()
    last, now = 0, 1 << 30
    while abs(now - last) >= 512:
        time.sleep(0.3)
        last, now = now, int(client.info("memory")["used_memory"])
    return now


def _check_lives(client: redis.Redis, ids: Sequence[str], size: int, keys: int) -> None:
    completed = client.hget(world.NAMES.stats, "COMPLETED")
    check(completed == str(len(ids)), f"the statistics count {completed!r} completed missions, not {len(ids)}")
    check(client.zlexcount(world.NAMES.index, "[CO", "(CP") == len(ids), "the index is not whole")
    check(client.zcard(world.NAMES.index) == 2 * len(ids), "the names are not in the index")
    check(client.zcard(DUE) == len(ids), "not all will be removed")
    check(client.llen(world.NAMES.log(ids[-1])) == len(LIFE), "a log is not whole")
    check(client.strlen(world.NAMES.mission(ids[-1])) > size, "a mission is shorter than what its caller sent")
    check(client.dbsize() == keys, f"there are {client.dbsize()} keys, not {keys}")
