"""What reaches Redis, recorded with MONITOR once and replayed for other missions: no protocol is written by hand."""

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import cycle
from typing import Any
from uuid import uuid4

import redis
from missions import runtime, service
from missions.domain.fields import compact_json
from missions.domain.models import Heartbeat, LogQuery, MissionCreate, MissionLogEntry, MissionQuery, MissionStatus
from missions.domain.writes import DEFAULT, Write
from missions.publishing.emitter import Emitter
from missions.storage.keys import partition_of

from benchmarks.timing import check
from benchmarks.world import ENTRY, PAGE, PLAIN, SIGN, TAGGED, Later, Members, content, port_of, sandbox, server

ID, ATTEMPT = "~id~", "~attempt~"  # what is recorded is of this mission
ANYWHERE = "~namespace~"  # what is recorded in this namespace has gaps for another one
SEPARATOR = "\x1e"  # of the words of a command, none of which has it
FAR = "9000000000000000"  # a moment that is not reached
CONNECTING = ("HELLO", "CLIENT")
TOKEN = 4  # where a write's EVALSHA has its token, see write.lua
GAPS = re.compile(
    rf"(?P<id>{ID})|(?P<token>{ATTEMPT})|(?P<fingerprint>\b[0-9a-f]{{24}}\b)|(?P<moment>\d{{16}})"
    r"|(?P<event>[0-9a-f]{8}-[0-9a-f-]{27})"
    rf"|(?P<namespace>{ANYWHERE})|(?P<partition>\{{{partition_of(ANYWHERE)}\}})"
)


class Call:
    """A command with gaps: those of GAPS (events are event1, event2), and one for each of `texts`."""

    def __init__(self, words: Iterable[Any], texts: Mapping[str, str]) -> None:
        events: dict[str, str] = {}

        def gap(found: re.Match[str]) -> str:
            name = str(found.lastgroup)
            return f"%({events.setdefault(found[0], f'event{len(events) + 1}') if name == 'event' else name})s"

        self._template = GAPS.sub(gap, SEPARATOR.join(map(str, words)).replace("%", "%%"))
        for name, text in texts.items():
            self._template = self._template.replace(text, f"%({name})s")

    def filled(self, gaps: Mapping[str, str]) -> list[str]:
        """The command."""
        return (self._template % gaps).split(SEPARATOR)


def commands(
    client: redis.Redis, work: Callable[[], Any], *, texts: Mapping[str, str] | None = None, lua: bool = False,
    only_writing: bool = False,
) -> list[Call]:  # fmt: skip
    """What this work makes the server do: the commands that it sends, or those that its scripts call."""
    writing = client.command_list(category="write")
    found = []
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        work()
        client.echo("done")
        while '"ECHO" "done"' not in (line := str(monitor.connection.read_response())):
            name, *words = (ast.literal_eval(word) for word in re.findall(r'"(?:[^"\\]|\\.)*"', line))
            if (" lua]" in line) == lua and name not in CONNECTING and (name.lower() in writing or not only_writing):
                found.append(Call((name, *words), texts or {}))
    return found


@cache
def record(
    size: int = 135, *, publishing: bool = True, namespace: str = DEFAULT, also: Members = PLAIN, days: float = 90
) -> dict[str, list[Call]]:
    """The calls of a mission's life, and of each way to read it.

    The mission has so many bytes of content, and these members besides; it is kept for so many days.
    """
    write = Write(namespace=namespace, attempt=ATTEMPT)
    steps: dict[str, Callable[[], Any]] = {
        "create": lambda: service.create_mission(MissionCreate(id=ID, **(content(size) | dict(also))), write),
        "start": lambda: service.update_status(ID, MissionStatus.RUNNING, None, write),
        "log": lambda: service.append_log_entry(ID, MissionLogEntry.model_validate(ENTRY), write),
        "heartbeat": lambda: service.heartbeat(ID, Heartbeat.model_validate(SIGN), namespace),
        "complete": lambda: service.update_status(ID, MissionStatus.COMPLETED, None, write),
        "get": lambda: service.get_mission(ID, namespace),
        "list": lambda: service.list_missions(namespace, MissionQuery(limit=PAGE)),
        "get_log": lambda: service.get_log(ID, namespace, LogQuery(limit=PAGE)),
        "stats": lambda: service.get_stats(namespace),
    }
    sent = {"create": given(size, also), "log": texts(ENTRY)}
    found = {}
    before = runtime.current
    with server() as client:
        runtime.replace(sandbox(port_of(client), emitter=Later() if publishing else Emitter(None), retention_days=days))
        try:
            for name, step in steps.items():
                found[name] = commands(client, step, texts=sent.get(name))
                for token in client.scan_iter(f"*{ATTEMPT}"):
                    client.delete(token)  # so that one attempt may do all of it
        finally:
            runtime.replace(before)
    return found


def texts(body: Mapping[str, Any]) -> dict[str, str]:
    """The gaps for what a caller sent."""
    return {name: compact_json(value) for name, value in body.items()}


def given(size: int = 135, also: Members = PLAIN) -> dict[str, str]:
    """The gaps for what was recorded of a create."""
    return texts({name: dict(also).get(name, value) for name, value in content(size).items()})


def new(mission_id: str, **gaps: str) -> dict[str, str]:
    """The gaps of a write that nobody made before."""
    token = uuid4().hex
    return {"id": mission_id, "token": token, "fingerprint": token[:24], "event1": str(uuid4()), "event2": str(uuid4()),
            **gaps}  # fmt: skip


def pipelined(client: redis.Redis, calls: Sequence[Sequence[str]]) -> list[Any]:
    """Run commands in pipelines of 500. Raises what the first failing one does."""
    answers: list[Any] = []
    for first in range(0, len(calls), 500):
        with client.pipeline(transaction=False) as pipeline:
            for each in calls[first : first + 500]:
                pipeline.execute_command(*each)  # type: ignore[no-untyped-call]
            answers += pipeline.execute()
    return answers


def replay(client: redis.Redis, writes: Sequence[Sequence[str]]) -> None:
    """Run EVALSHAs of writes. Raises NotDone when one changed nothing."""
    outcomes = {answer[0] for answer in pipelined(client, writes)}
    check(outcomes <= {"created", "changed", "appended"}, f"the replay answered {outcomes}")


def spread(namespaces: Iterable[str]) -> list[list[str]]:
    """The create of a new mission, with its events, in each of these namespaces."""
    (create,) = record(namespace=ANYWHERE)["create"]
    body = texts(content())
    places = ({"namespace": each, "partition": f"{{{partition_of(each)}}}"} for each in namespaces)
    return [create.filled(new(str(uuid4()), **body, **place)) for place in places]


def load(client: redis.Redis, ids: Sequence[str], kinds: Sequence[Members] = (*[PLAIN] * 9, TAGGED)) -> None:
    """Create missions of these kinds in turn, without events, and forget their tokens."""
    creates = [(record(publishing=False, also=each)["create"][0], given(also=each)) for each in kinds]
    for first in range(0, len(ids), 1000):
        each_with = zip(ids[first : first + 1000], cycle(creates), strict=False)
        writes = [create.filled(new(each, moment=FAR, **body)) for each, (create, body) in each_with]
        replay(client, writes)
        client.unlink(*(each[TOKEN] for each in writes))
