"""`make run` over HTTP, side by side with a FastAPI service written the specification's way (`fastapi_service`), each
with a Valkey of its own that syncs every write: response times, creates of many clients, and a long log; what they
leave in the store, and when their events arrive.
"""

import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, cast
from uuid import uuid4

import psutil
import redis

from benchmarks import specification, world
from benchmarks.recording import load, pipelined
from benchmarks.report import Report, Row
from benchmarks.timing import Batch, Contender, check, shown, side_by_side
from local.processes import unused_port
from local.stack import aws, forget, listen, valkey

ROOT = Path(__file__).parents[1]
STORED, CLIENTS, LINES, TOGETHER = 10_000, 16, 10_000, 100
SLOWER, FAST = 2.5, 0.003  # times FastAPI's median, and seconds: the greater one is the target
PATIENCE = 150  # seconds without any progress of the events that wait; the relay runs each minute
SETTINGS = ("appendonly", "appendfsync", "maxmemory-policy", "save", "io-threads")
DONE = {"create": 201, "status": 200, "log": 201, "get": 200, "list": 200}
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONTENT = world.content()


def request(method: str, path: str, body: Any = None) -> bytes:
    """A request of HTTP/1.1, made before it is timed."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /api/missions{path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def create(mission_id: str) -> bytes:
    return request("POST", "", {"id": mission_id, **CONTENT})


class Connection:
    """A keep-alive connection that does little itself beside what is timed. One that a service ends is made anew."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), 120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came, self._ends = b"", False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        if self._ends:
            self._socket.close()
            self._connect()
        self._socket.sendall(request)

    def answer(self) -> tuple[int, bytes] | None:
        """Receive once; the status and the body of an answer, when all of it is there."""
        chunk = self._socket.recv(1 << 20)
        check(bool(chunk), "a service closed a connection that was in use")
        self._came += chunk
        head, _, body = self._came.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not length or len(body) < int(length[1]):
            return None
        self._came, self._ends = b"", b"connection: close" in head.lower()
        return int(head[9:12]), body

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send, and wait for the answer."""
        self.send(request)
        while (answer := self.answer()) is None:
            pass
        return answer


def healthy(port: int) -> bool:
    with suppress(OSError), Connection(port) as connection:
        return connection.ask(request("GET", "/health"))[0] == 200
    return False


@contextmanager
def process(module: Sequence[str], folder: str, port: int, **variables: str) -> Iterator[tuple[psutil.Process, float]]:
    """A process in this folder until the block ends, and how many seconds it took until its health check was 200."""
    own = {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/missions'}", **variables}
    command = [sys.executable, "-m", *module]
    output = Path(folder, "output")
    started = time.perf_counter()
    with output.open("wb") as file:
        running = subprocess.Popen(
            command, cwd=folder, env=os.environ | own, stdout=file, stderr=file, start_new_session=True
        )
    it = psutil.Process(running.pid)
    try:
        while not healthy(port):
            waits = running.poll() is None and time.perf_counter() < started + 60
            check(waits, f"{module[0]} did not become ready:\n{output.read_text()[-2000:]}")
            time.sleep(0.02)
        yield it, time.perf_counter() - started
    finally:
        family = it.children(recursive=True) if running.poll() is None else []
        running.terminate()
        with suppress(subprocess.TimeoutExpired):
            running.wait(30)
        for left in psutil.wait_procs([it, *family], 5)[1]:
            left.kill()


class Service:
    """A running service with its store, the keys of its logs, and stored missions that nobody has used yet."""

    name, log = "make run", staticmethod(world.NAMES.log)

    def __init__(self, port: int, store: redis.Redis, it: psutil.Process, ids: Sequence[str]) -> None:
        self.port, self.store, self._process, self._pool = port, store, it, list(ids)

    def ask(self, path: str) -> Any:
        with Connection(self.port) as connection:
            status, answer = connection.ask(request("GET", path))
        check(status == 200, f"{self.name} answered {status} to GET {path}: {answer!r}")
        return json.loads(answer)

    def count(self) -> int:
        """How many missions it has."""
        return int(self.ask("/stats/overview")["stats"]["total"])

    def check_logs(self, ids: Sequence[str], entries: int) -> None:
        found = set(pipelined(self.store, [["LLEN", self.log(each)] for each in ids]))
        check(found == {entries}, f"{self.name} has logs of {found} entries, not {entries}")

    def contender(self, operation: str) -> Contender:
        def batch(count: int) -> Batch:
            asked = [self._request(operation) for _ in range(count)]
            with Connection(self.port) as connection:
                connection.ask(request("GET", "/health"))
                answers = yield connection.ask, [sent for _, sent in asked]
            statuses = {status for status, _ in answers}
            check(statuses == {DONE[operation]}, f"{self.name}: {operation} answered {statuses}")
            self._verify(operation, asked[-1][0], json.loads(answers[-1][1]))
            self.wait_until_idle(0.2, patience=5)  # what it goes on doing would slow down the other one

        return batch

    def _request(self, operation: str) -> tuple[str, bytes]:
        """The mission and the request."""
        match operation:
            case "create":
                return (mission := str(uuid4())), create(mission)
            case "status":
                return (mission := self._pool.pop()), request("POST", f"/{mission}/status", {"status": "RUNNING"})
            case "log":
                return (mission := self._pool.pop()), request("POST", f"/{mission}/log", world.ENTRY)
            case "get":
                return (mission := self._pool.pop()), request("GET", f"/{mission}")
        return "", request("GET", f"?limit={world.PAGE}")

    def _verify(self, operation: str, mission_id: str, body: dict[str, Any]) -> None:
        """Look at the last answer, and at what is stored now."""
        match operation:
            case "list":
                listed = {mission["id"] for mission in body["missions"]}
                check(len(listed) == len(body["missions"]) == world.PAGE, f"{self.name} lists {len(listed)} missions")
            case "log":
                self.check_logs([mission_id], 2)
            case _:
                stored, status = self.ask(f"/{mission_id}"), "RUNNING" if operation == "status" else "PENDING"
                check(body == stored and stored["status"] == status, f"{self.name} has {stored}, not {body}")

    def creates(self, seconds: float) -> tuple[list[str], float, float, float]:
        """Many clients create for so long.

        Gives the missions, creates a second, how much of a core this process took, and the moment of the last answer.
        """
        ids: list[str] = []
        answers: Counter[int] = Counter()

        def send(connection: Connection) -> None:
            ids.append(str(uuid4()))
            connection.send(create(ids[-1]))
            waiting.register(connection, selectors.EVENT_READ)

        before, started, used = self.count(), time.perf_counter(), time.process_time()
        with selectors.DefaultSelector() as waiting, ExitStack() as connections:
            for connection in [connections.enter_context(Connection(self.port)) for _ in range(CLIENTS)]:
                send(connection)
            while waiting.get_map():
                ready = waiting.select(60)
                check(bool(ready), f"{self.name} does not answer")
                for key, _ in ready:
                    connection = cast(Connection, key.fileobj)
                    if answer := connection.answer():
                        answers[answer[0]] += 1
                        waiting.unregister(connection)
                        if time.perf_counter() - started < seconds:
                            send(connection)
        ended, used = time.perf_counter(), time.process_time() - used
        check(answers == {201: len(ids)}, f"{self.name} answered {len(ids)} creates with {dict(answers)}")
        stored = self.count() - before
        check(stored == len(ids), f"{self.name} counts {stored} of {len(ids)} missions")
        self.check_logs(ids, 1)
        return ids, len(ids) / (ended - started), used / (ended - started), ended

    def use(self, seconds: float) -> float:
        """How much of a core all its processes take in the next seconds."""
        before = self._used()
        time.sleep(seconds)
        return sum(used - before.get(each, 0) for each, used in self._used().items()) / seconds

    def _used(self) -> dict[psutil.Process, float]:
        used = {}
        for each in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used[each] = sum(each.cpu_times()[:2])
        return used

    def wait_until_idle(self, seconds: float = 1, patience: float = 60) -> None:
        """Wait until no event is in the outbox and the processes do next to nothing, or patience ends."""
        deadline = time.monotonic() + patience
        while (self.use(seconds) > 0.1 or self.store.xlen(world.OUTBOX)) and time.monotonic() < deadline:
            pass


class FastAPIService(Service):
    name, log = "FastAPI", staticmethod(lambda mission_id: specification.LOG + mission_id)

    def count(self) -> int:
        return int(self.store.scard(specification.INDEX))


class Queue:
    """A queue that gets every event from now on."""

    def __init__(self, endpoint: str, store: redis.Redis) -> None:
        self._endpoint, self._store, self._name = endpoint, store, f"missions-benchmark-{uuid4().hex[:8]}"
        self._url, self._sqs = listen(endpoint, self._name), aws("sqs", endpoint)

    def wait(self, count: int) -> None:
        """Wait until the outbox is empty and so many events are here. Raises NotDone when nothing moves any more."""
        asked = {"QueueUrl": self._url, "AttributeNames": ["ApproximateNumberOfMessages"]}
        last, here, moved = -1, 0, time.monotonic()
        while (left := self._store.xlen(world.OUTBOX)) or here < count:
            if not left:  # counting takes the stack's time
                here = int(self._sqs.get_queue_attributes(**asked)["Attributes"]["ApproximateNumberOfMessages"])
            if last != (last := left - here):
                moved = time.monotonic()
            check(time.monotonic() - moved < PATIENCE, f"{left} entries wait in the outbox, {here} events arrived")
            time.sleep(0.1)

    def check(self, expected: set[tuple[str, int]]) -> None:
        """Raise NotDone unless these are the events here: their missions and sequences."""
        arrived = set()
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            details = [json.loads(message["Body"])["detail"] for message in messages]
            arrived |= {(detail["payload"]["mission_id"], detail["meta"]["sequence"]) for detail in details}
            handles = [{"Id": each["MessageId"], "ReceiptHandle": each["ReceiptHandle"]} for each in messages]
            self._sqs.delete_message_batch(QueueUrl=self._url, Entries=handles)
        right = len(arrived & expected)
        check(arrived == expected, f"{right} of {len(expected)} events arrived, and {len(arrived) - right} others")
        forget(self._endpoint, self._name, self._url)


def measure(report: Report, *, quick: bool) -> None:
    with ExitStack() as running:
        port, events_port, redis_port, other, other_redis = (unused_port() for _ in range(5))
        here, there = (running.enter_context(TemporaryDirectory()) for _ in range(2))
        ports = {"PORT": str(port), "EVENTS_PORT": str(events_port), "REDIS_PORT": str(redis_port)}
        with process(["local.run"], here, port, **ports):
            pass  # the first start warms up the machine
        stack, took = running.enter_context(process(["local.run"], here, port, **ports))
        report.add(Row("local", "start to ready, in s", shown(took), "", took, 6))

        running.enter_context(valkey(Path(there), other_redis))
        module = f"uvicorn benchmarks.fastapi_service:app --port {other} --workers 1 --no-access-log".split()
        url = {"REDIS_URL": f"redis://127.0.0.1:{other_redis}"}
        uvicorn, _ = running.enter_context(process(module, there, other, **url))
        mine, its = (
            running.enter_context(redis.Redis(port=each, decode_responses=True)) for each in (redis_port, other_redis)
        )
        settings = mine.config_get(*SETTINGS)
        check(settings == its.config_get(*SETTINGS), f"the FastAPI service's Valkey has other settings than {settings}")
        ids = world.new_ids(STORED)
        ours, theirs = Service(port, mine, stack, ids), FastAPIService(other, its, uvicorn, ids)
        world.load_scripts(mine)
        load(mine, ids)
        specification.lives(its, ids, finished=False)
        for each in (ours, theirs):
            check(each.count() == STORED, f"{each.name} counts {each.count()} missions, not {STORED}")
            each.wait_until_idle()
        one_client(report, ours, theirs, quick=quick)
        endpoint = f"http://127.0.0.1:{events_port}"
        many_clients(report, ours, theirs, endpoint, 5 if quick else 20)
        long_log(report, ours, endpoint)


def one_client(report: Report, ours: Service, theirs: Service, *, quick: bool) -> None:
    for operation in DONE:
        few = operation == "list"  # the specification's takes seconds
        turns = (3, 1, 0) if few else (8 if quick else 30, 25, 5)
        samples = side_by_side({each.name: each.contender(operation) for each in (ours, theirs)}, *turns)
        target = max(SLOWER, FAST / samples[theirs.name].median)
        report.compare("local", f"{operation}, {STORED:,} missions" if few else operation, samples, round(target, 2))


def many_clients(report: Report, ours: Service, theirs: Service, endpoint: str, seconds: int) -> None:
    """The FastAPI service first, since ours still delivers events afterwards; ours may be a third as fast."""
    ours.wait_until_idle()
    _, its_rate, its_share, _ = theirs.creates(seconds)
    queue = Queue(endpoint, ours.store)
    ids, rate, share, ended = ours.creates(seconds)
    queue.wait(2 * len(ids))
    took = time.perf_counter() - ended
    queue.check({(each, sequence) for each in ids for sequence in (1, 2)})
    name, figures = (
        f"creates, {CLIENTS} clients, {seconds} s",
        (f"{rate:,.0f} a second", f"FastAPI {its_rate:,.0f} a second"),
    )
    report.add(Row("local", name, *figures, its_rate / rate, 3))
    report.add(Row("local", "the clients' own share of a core", f"{share:.2f}", f"FastAPI {its_share:.2f}"))
    report.add(Row("local", f"{2 * len(ids):,} events of these creates", f"{shown(took)} after the last answer"))


def long_log(report: Report, ours: Service, endpoint: str) -> None:
    """One client sends many lines to one mission, and waits for each answer."""
    mission_id = str(uuid4())
    entries = [world.ENTRY | {"message": f"Step {number} done"} for number in range(LINES)]
    batches = [{"entries": entries[first : first + TOGETHER]} for first in range(0, LINES, TOGETHER)]
    sent = [request("POST", f"/{mission_id}/log", batch) for batch in batches]
    with Connection(ours.port) as connection:
        connection.ask(create(mission_id))
    ours.wait_until_idle()
    queue = Queue(endpoint, ours.store)
    with Connection(ours.port) as connection:
        started = time.perf_counter()
        statuses = Counter(connection.ask(each)[0] for each in sent)
        accepted = time.perf_counter() - started
    check(statuses == {201: len(sent)}, f"{len(sent)} batches of log entries were answered {dict(statuses)}")
    ours.check_logs([mission_id], LINES + 1)
    queue.wait(LINES)
    delivered = time.perf_counter() - started
    use = ours.use(5)
    queue.check({(mission_id, sequence) for sequence in range(3, LINES + 3)})
    name = f"{LINES:,} log entries, {TOGETHER} a request"
    report.add(Row("local", f"{name}, in s", shown(accepted), "", accepted, 15))
    report.add(Row("local", f"{LINES:,} events of this log, in s", shown(delivered), "", delivered, 120))
    report.add(Row("local", "% of a core, 5 s after that", f"{use:.1%}", "", use * 100, 5))
