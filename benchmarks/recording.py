"""What reaches Redis, recorded with MONITOR once and replayed for other missions: no protocol is written by hand."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import uuid4

import redis
from missions import runtime, service
from missions.domain.models import Heartbeat, LogQuery, MissionCreate, MissionLogEntry, MissionQuery, MissionStatus
from missions.domain.writes import DEFAULT, Write
from missions.publishing.emitter import Emitter
from missions.storage.keys import partition_of

from benchmarks.timing import check
from benchmarks.world import ENTRY, PAGE, PLAIN, SIGN, TAGGED, Later, Members, content, port_of, sandbox, server

Item = TypeVar("Item")
ID, ATTEMPT = "~id~", "~attempt~"  # what is recorded is of this mission
ANYWHERE = "~namespace~"  # what is recorded in this namespace has gaps for another one
SEPARATOR = "\x1e"  # of the words of a command, none of which has it
FAR = "9000000000000000"  # a moment that is not reached
CONNECTING = ("HELLO", "CLIENT")
TOKEN = 4  # where a write's EVALSHA has its token, see write.lua
GAPS = re.compile(
    rf"(?P<id>{ID})|(?P<token>{ATTEMPT})|(?P<fingerprint>\b[0-9a-f]{{24}}\b)|(?P<moment>(?!{FAR})\d{{16}})"
    r"|(?P<event>[0-9a-f]{8}-[0-9a-f-]{27})"
    rf"|(?P<namespace>{ANYWHERE})|(?P<partition>\{{{partition_of(ANYWHERE)}\}})"
)


@dataclass
class Call:
    """A command with gaps: those of GAPS (events are event1, event2), and those that are opened besides."""

    template: str

    @classmethod
    def recorded(cls, words: Iterable[Any]) -> "Call":
        events: dict[str, str] = {}

        def gap(found: re.Match[str]) -> str:
            name = str(found.lastgroup)
            return f"%({events.setdefault(found[0], f'event{len(events) + 1}') if name == 'event' else name})s"

        return cls(GAPS.sub(gap, SEPARATOR.join(map(str, words)).replace("%", "%%")))

    def opened(self, texts: Mapping[str, str]) -> "Call":
        """With a gap, too, in place of each of these texts."""
        template = self.template
        for name, text in texts.items():
            template = template.replace(text, f"%({name})s")
        return Call(template)

    def filled(self, gaps: Mapping[str, str]) -> list[str]:
        """The command."""
        return (self.template % gaps).split(SEPARATOR)


def commands(
    client: redis.Redis, work: Callable[[], Any], *, lua: bool = False, only_writing: bool = False
) -> list[Call]:
    """What this work makes the server do: the commands that it sends, or those that its scripts call."""
    writing = client.command_list(category="write")
    found = []
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        work()
        client.echo("done")
        while '"ECHO" "done"' not in (line := str(monitor.connection.read_response())):
            name, *words = (ast.literal_eval(word) for word in re.findall(r'"(?:[^"\\]|\\.)*"', line))
            if (" lua]" in line) == lua and name not in CONNECTING and (name.lower() in writing or not only_writing):
                found.append(Call.recorded((name, *words)))
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
    found = {}
    with server() as client:
        here = sandbox(port_of(client), emitter=Later() if publishing else Emitter(None), retention_days=days)
        with patch.object(runtime, "current", here):
            for name, step in steps.items():
                found[name] = commands(client, step)
                for token in client.scan_iter(f"*{ATTEMPT}"):
                    client.delete(token)  # so that one attempt may do all of it
    return found


def new(mission_id: str, **gaps: str) -> dict[str, str]:
    """The gaps of a write that nobody made before."""
    token = uuid4().hex
    return {"id": mission_id, "token": token, "fingerprint": token[:24], "event1": str(uuid4()), "event2": str(uuid4()),
            **gaps}  # fmt: skip


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """So many at a time."""
    left = iter(items)
    return iter(lambda: list(islice(left, size)), [])


def pipelined(client: redis.Redis, calls: Iterable[Sequence[str]]) -> list[Any]:
    """Run commands in pipelines of 500. Raises what the first failing one does."""
    answers: list[Any] = []
    for batch in batches(calls, 500):
        with client.pipeline(transaction=False) as pipeline:
            for each in batch:
                pipeline.execute_command(*each)  # type: ignore[no-untyped-call]
            answers += pipeline.execute()
    return answers


def replay(client: redis.Redis, writes: Iterable[Sequence[str]], *, forget: bool = False) -> None:
    """Run EVALSHAs of writes, and delete their tokens meanwhile. Raises NotDone when one changed nothing."""
    for batch in batches(writes, 1000):
        outcomes = {answer[0] for answer in pipelined(client, batch)}
        check(outcomes <= {"created", "changed", "appended"}, f"the replay answered {outcomes}")
        if forget:
            client.unlink(*(each[TOKEN] for each in batch))


def lives(ids: Iterable[str], steps: Sequence[str] = ("create",), **options: Any) -> Iterator[list[str]]:
    """The calls of missions that take these steps, recorded with these options."""
    calls = [record(**options)[step][0] for step in steps]
    return (call.filled(new(each)) for each in ids for call in calls)


def spread(namespaces: Iterable[str]) -> Iterator[list[str]]:
    """The create of a new mission, with its events, in each of these namespaces."""
    (create,) = record(namespace=ANYWHERE)["create"]
    places = ({"namespace": each, "partition": f"{{{partition_of(each)}}}"} for each in namespaces)
    return (create.filled(new(str(uuid4()), **place)) for place in places)


def load(client: redis.Redis, ids: Sequence[str], kinds: Sequence[Members] = (*[PLAIN] * 9, TAGGED)) -> None:
    """Create missions of these kinds in turn, without events, and forget their tokens."""
    creates = [record(publishing=False, also=each)["create"][0] for each in kinds]
    writes = (create.filled(new(each)) for each, create in zip(ids, cycle(creates), strict=False))
    replay(client, writes, forget=True)
