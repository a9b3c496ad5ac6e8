"""Memory per mission: created, started, completed, and three log entries of its caller's."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import redis
from missions.models import MissionCreate, MissionLogEntry, MissionStatus
from missions.service import append_log_entry, create_mission, update_status

from benchmarks import floor, specification
from benchmarks.report import Report, Row
from benchmarks.timing import check
from benchmarks.world import CONTENT, ENTRY, batched, load_scripts, new_ids, outbox, port, run_all, server, use_later

ENTRIES = 6  # of a mission's log: created, started, completed, and three
EVENTS = 9  # of a mission: one for each log entry, and three of its own


def measure(report: Report, *, quick: bool) -> None:
    count = 4_000 if quick else 20_000
    with server() as client:
        same_records(client)
        ids = new_ids(count)
        spec = _bytes(client, lambda: _lives_spec(client, ids)) / count
        check(client.llen(specification.log_key(ids[-1])) == ENTRIES, "the specification's log is not whole")
        check(client.scard(specification.INDEX) == count, "the specification's index is not whole")
        ours = _bytes(client, lambda: _lives_drained(client, ids)) / count
        check(
            client.dbsize() == 2 * count + 3, "there are other keys than missions, logs, index, statistics, durations"
        )
        _check_lives(client, ids)
        whole = _bytes(client, lambda: _lives(client, ids)) / count
        _check_lives(client, ids)
        check(client.xlen(floor.KEYS.outbox) == EVENTS * count, "the events are not in the outbox")
        outbox = _bytes(client, lambda: client.delete(floor.KEYS.outbox), fresh=False) / -count
        report.add(
            Row("memory", "a mission, done", f"{ours:,.0f} bytes", f"specification {spec:,.0f}", ours / spec, "<=", 1.4,
                {"bytes": ours, "specification_bytes": spec, "missions": count})
        )  # fmt: skip
        report.add(
            Row("memory", "its 9 events in the outbox", f"{outbox:,.0f} bytes", "until published",
                numbers={"bytes": outbox})
        )  # fmt: skip
        tokens = whole - outbox - ours
        report.add(
            Row("memory", "its 6 write tokens", f"{tokens:,.0f} bytes", "for a minute; a day with an Idempotency-Key",
                numbers={"bytes": tokens})
        )  # fmt: skip


def _bytes(client: redis.Redis, work: Callable[[], object], *, fresh: bool = True) -> int:
    """By how much used_memory grows, once it is still; `fresh` begins with an empty server."""
    if fresh:
        client.flushall()
        load_scripts(client)
    before = _still(client)
    work()
    return _still(client) - before


def _still(client: redis.Redis) -> int:
    """used_memory, when rehashing and freeing have ended and this connection's buffers are small again."""
    client.connection_pool.disconnect()
    last = -1
    for _ in range(100):
        now = int(client.info("memory")["used_memory"])
        if abs(now - last) < 512:
            return now
        last = now
        time.sleep(0.3)
    return last


def _calls(ids: Iterable[str]) -> Iterator[list[str | int]]:
    for each in ids:
        yield floor.create_call({"id": each, **CONTENT}, f"request:{each}1", life=86400)
        yield floor.status_call(each, "RUNNING", f"request:{each}2", life=86400)
        for number in (3, 4, 5):
            yield floor.log_call(each, ENTRY, f"request:{each}{number}", life=86400)
        yield floor.status_call(each, "COMPLETED", f"request:{each}6", life=86400)


def _lives(client: redis.Redis, ids: Sequence[str]) -> None:
    run_all(client, _calls(ids))


def _lives_drained(client: redis.Redis, ids: Sequence[str]) -> None:
    """The same, the outbox drained and the tokens removed as time goes on."""
    for chunk in batched(ids, 200):
        _lives(client, chunk)
        client.delete(
            floor.KEYS.outbox,
            *chain(*([floor.KEYS.token(f"request:{each}{n}") for n in range(1, 7)] for each in chunk)),
        )


def _lives_spec(client: redis.Redis, ids: Sequence[str]) -> None:
    """What the specification's functions leave behind, written in its order."""
    way = specification.Specification
    for chunk in batched(ids, 200):
        with client.pipeline(transaction=False) as pipeline:
            for each in chunk:
                memo = _Memo(pipeline)
                service = way(memo)
                service.create_mission(specification.SpecCreate.model_validate({"id": each, **CONTENT}))
                service.update_status(each, MissionStatus.RUNNING)
                for _ in range(3):
                    service.append_log_entry(each, specification.SpecLogEntry.model_validate(ENTRY))
                service.update_status(each, MissionStatus.COMPLETED)
            pipeline.execute()


class _Memo:
    """A pipeline that remembers what was set, so that the specification's code can run in it."""

    def __init__(self, pipeline: redis.client.Pipeline) -> None:
        self._pipeline = pipeline
        self._values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self._values[key] = value
        self._pipeline.set(key, value)

    def get(self, key: str) -> str | None:
        return self._values.get(key)

    def sadd(self, key: str, value: str) -> None:
        self._pipeline.sadd(key, value)

    def rpush(self, key: str, value: str) -> None:
        self._pipeline.rpush(key, value)


def _check_lives(client: redis.Redis, ids: Sequence[str]) -> None:
    stats = client.hgetall(floor.KEYS.stats)
    check(stats.get("COMPLETED") == str(len(ids)), f"the statistics count {stats}")
    check(client.zcard(floor.KEYS.index(MissionStatus.COMPLETED)) == len(ids), "the index is not whole")
    check(client.llen(floor.KEYS.log(ids[-1])) == ENTRIES, "a log is not whole")


def same_records(client: redis.Redis) -> None:
    """Raise NotDone unless the calls made by hand store what the service stores, but for moments."""

    def shape(mission_id: str) -> tuple[object, ...]:
        text = str(client.get(floor.KEYS.mission(mission_id)))
        state, rest = text.split("\n", 1)
        log = [json.loads(entry) | {"timestamp": 0} for entry in client.lrange(floor.KEYS.log(mission_id), 0, -1)]
        events = [json.loads(text) for text in outbox(client)]
        events = [
            event | {"timestamp": 0, "id": ""} for event in events if event["payload"]["mission_id"] == mission_id
        ]
        for event in events:
            event["payload"]["mission_id"] = ""
        return state.split(" ")[:2], rest, log, events, len(text)

    use_later(port(client))
    by_hand, by_service = new_ids(2)
    _lives(client, [by_hand])
    create_mission(MissionCreate.model_validate({"id": by_service, **CONTENT}))
    update_status(by_service, MissionStatus.RUNNING)
    for _ in range(3):
        append_log_entry(by_service, MissionLogEntry.model_validate(ENTRY))
    update_status(by_service, MissionStatus.COMPLETED)
    ours, theirs = shape(by_service), shape(by_hand)
    check(ours[:-1] == theirs[:-1], f"a mission made by hand is another than the service's:\n{ours}\n{theirs}")
