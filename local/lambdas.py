"""Lambda on one machine: sandboxes, each a process of one function, and the Runtime and Extensions APIs they speak to.

The rules are those of AWS's published emulator (aws-lambda-runtime-interface-emulator, in internal/lambda/core the file
internalagent_states.go, and rapi/handler/agentnext.go): an invocation is told to the runtime and to each extension. Its
caller has the response as soon as the runtime posts it. It is over when all have asked for the next one. An extension
that asks again before an answer gets 403.
"""

import asyncio
import importlib.util
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Self
from uuid import UUID, uuid4

import psutil

from local import serving
from local.eventbridge import ACCOUNT, REGION
from local.processes import ROOT
from local.template import template

RUNTIME = "awslambdaric" if importlib.util.find_spec("awslambdaric") else "small"  # see local/runtime_client.py
OF_ONE, IN_ALL = 4, 12  # sandboxes of a function, and of all together
# What is asked for again and again, and what the console's first page asks for. All that write would take most of the
# sandboxes, and each takes a while to start.
WARM = {"create_mission", "claim_mission", "heartbeat", "update_status", "append_log_entry"}
WARM |= {"list_missions", "get_stats"}
INITIALISATION = 30.0  # seconds until a sandbox must be ready
PATIENCE = 0.002  # seconds that an invocation waits for a busy sandbox until another one is started
LOOK = 0.005  # seconds between two looks at what waits
RESTED = 1.0  # seconds without work, after which a sandbox may make room for a second one of another function
WATCH = 0.2  # seconds between two looks at the memory

Answer = tuple[int, bytes, dict[str, str]]  # status, body, headers


def refusal(error_type: str, status: int = 403) -> Answer:
    """What the emulator answers to what it refuses; errorType is its own."""
    return status, json.dumps({"errorType": error_type, "errorMessage": error_type}).encode(), {}


REFUSED = refusal("InvalidStateTransition")


class Kind(StrEnum):
    """Why there is no response."""

    RAISED = "raised"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "ran out of memory"
    DIED = "died"


class FunctionError(Exception):
    """An invocation without a response. `error` is what Lambda gives the caller: errorType, errorMessage, ..."""

    def __init__(self, kind: Kind, message: str, error: dict[str, Any]) -> None:
        super().__init__(message)
        self.kind, self.message, self.error = kind, message, error


class Refused(Exception):
    """403: it asked for the next event before, and has no answer yet; or the sandbox has ended."""


@dataclass(frozen=True)
class Function:
    """A function, as template.yaml describes it."""

    name: str
    folder: Path
    timeout: float = 10  # seconds
    memory: int = 512  # MB
    warm: bool = False  # whether it has a sandbox from the start


@cache
def functions() -> dict[str, Function]:
    """The functions of template.yaml, by the names of their folders."""
    found = {}
    for resource in template()["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = template()["Globals"]["Function"] | resource["Properties"]
            folder = ROOT / properties["CodeUri"]
            found[folder.name] = Function(
                folder.name, folder, properties["Timeout"], properties["MemorySize"], folder.name in WARM
            )
    return found


@dataclass(eq=False)
class Invocation:
    """An event for a function, and the future of what the runtime posts."""

    event: bytes
    answer: asyncio.Future[bytes]
    trace: str | None = None
    request_id: str = field(default_factory=lambda: str(uuid4()))
    deadline: float = 0  # Unix seconds, known when it begins
    arrived: float = field(default_factory=time.monotonic)
    answered: bool = False  # the future may also be done because its caller went away

    def succeed(self, body: bytes) -> None:
        self.answered = True
        if not self.answer.done():
            self.answer.set_result(body)

    def fail(self, kind: Kind, error: dict[str, Any]) -> None:
        self.answered = True
        if kind is not Kind.RAISED:
            error = error | {"errorMessage": f"RequestId: {self.request_id} Error: {error['errorMessage']}"}
        if not self.answer.done():
            message = f"{error.get('errorType')}: {error.get('errorMessage')}"
            self.answer.set_exception(FunctionError(kind, message, error))


class Sandbox:
    """A sandbox: who asked for the next event, what is going on, and its process. All of it in one event loop.

    `changed` is called whenever it gets idle, and when it ends.
    """

    def __init__(self, function: Function, changed: Callable[["Sandbox"], None]) -> None:
        self.function = function
        self.extensions: list[str] = []
        self._names: set[str] = set()
        self.refuse_extensions = False
        self.restored = False
        self.null_answers = 0  # how many of the next questions of extensions are answered by null
        self.initialised = False
        self.idle_since = 0.0
        self.used = False
        self.ended: tuple[Kind, dict[str, Any]] | None = None
        self._changed = changed
        self._asking: dict[str, asyncio.Future[Invocation]] = {}
        self._invocation: Invocation | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._memory: Callable[[], Any] | None = None

    @property
    def idle(self) -> bool:
        """Whether the runtime and all extensions ask for the next event, so nothing is going on any more."""
        return not self._invocation and len(self._asking) == 1 + len(self.extensions) and not self.ended

    def begin(self, invocation: Invocation) -> None:
        """Tell this to all; the sandbox must be idle."""
        timeout = self.function.timeout
        invocation.deadline = time.time() + timeout
        self._invocation, self.used = invocation, True
        self._limit(timeout, f"Task timed out after {timeout:.2f} seconds")
        asking, self._asking = self._asking, {}
        for each in asking.values():
            each.set_result(invocation)

    async def next_for(self, who: str) -> Invocation:
        """Wait for the next invocation. Raises Refused."""
        if who in self._asking or self.ended:
            raise Refused
        told: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._asking[who] = told
        if len(self._asking) == 1 + len(self.extensions) and (not self._invocation or self._invocation.answered):
            self._invocation = None
            self.initialised = True
            self.idle_since = time.monotonic()
            self._end_limit()
            self._changed(self)
        return await told

    def end(self, kind: Kind = Kind.DIED, error_type: str = "Runtime.ExitError", message: str = "Ended") -> None:
        """Kill the process, and fail what is going on. Only the first reason counts."""
        self._end(kind, {"errorType": error_type, "errorMessage": message})

    def _end(self, kind: Kind, error: dict[str, Any]) -> None:
        if self.ended:
            return
        self.ended = kind, error
        self._end_limit()
        self.kill()
        if self._invocation and not self._invocation.answered:
            self._invocation.fail(kind, error)
        for each in self._asking.values():
            each.set_exception(Refused())
        self._changed(self)

    def _limit(self, seconds: float, message: str) -> None:
        self._timer = asyncio.get_running_loop().call_later(
            seconds, self.end, Kind.TIMED_OUT, "Sandbox.Timedout", message
        )

    def _end_limit(self) -> None:
        if self._timer:
            self._timer.cancel()

    # The process

    async def run(self, address: str, environment: Mapping[str, str], on_log: Callable[[str, str], None]) -> None:
        """Run the function in a process, which asks at this address, until it ends."""
        function = self.function
        paths = (function.folder, ROOT / "layers/missions", ROOT)
        own = {
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "LAMBDA_TASK_ROOT": str(function.folder),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONUNBUFFERED": "1",
        }
        self._limit(INITIALISATION, f"Initialisation timed out after {INITIALISATION:.2f} seconds")
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "local.runtime_client", RUNTIME),
                cwd=function.folder,
                env=os.environ | environment | own,
                stdin=asyncio.subprocess.PIPE,  # it ends when this process does: its input is a pipe from here
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C does not reach it
            )
        except OSError as error:
            self.end(message=f"It cannot be started: {error}")
            return
        if self.ended:
            self.kill()
        rest = b""
        while process.stdout and (chunk := await process.stdout.read(65_536)):
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                on_log(function.name, line.decode(errors="replace"))
        if rest:
            on_log(function.name, rest.decode(errors="replace"))
        code = await process.wait()
        how = f"exit status {code}" if code >= 0 else f"signal: {str(signal.strsignal(-code)).lower()}"
        self.end(message=f"Runtime exited with error: {how}" if code else "Runtime exited without providing a reason")

    def kill(self) -> None:
        """Kill the process, as the machine below a sandbox may do."""
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def check_memory(self) -> None:
        """End it when it takes more memory than it may."""
        if not self._process or self.ended:
            return
        with suppress(psutil.NoSuchProcess):
            self._memory = self._memory or psutil.Process(self._process.pid).memory_info
            if self._memory().rss > self.function.memory * 1024 * 1024:
                self.end(Kind.OUT_OF_MEMORY, "Runtime.OutOfMemory", "Runtime exited with error: signal: killed")

    # The two APIs

    async def answer(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> Answer:
        """What the API answers the sandbox's process."""
        try:
            match method, *path.split("/")[2:]:
                case ["GET", "runtime", "invocation", "next"]:
                    if self._invocation and not self._invocation.answered:
                        return self._told(self._invocation)  # it may ask again before it responds
                    return self._told(await self.next_for("runtime"))
                case ["POST", "runtime", "invocation", request_id, "response" | "error" as outcome]:
                    return self._posted(request_id, outcome, body)
                case ["POST", "runtime", "init", "error"]:
                    if self.initialised or "runtime" in self._asking:
                        return REFUSED
                    self._end(Kind.RAISED, _error(body))
                    return 202, b"{}", {}
                case ["GET", "runtime", "restore", "next"]:  # a snapshot was taken; this sandbox starts from it
                    self.restored = True
                    return 200, b"{}", {}
                case ["POST", "extension", "register"]:
                    return self._register(headers.get(b"lambda-extension-name", b"").decode(), body)
                case ["GET", "extension", "event", "next"]:
                    return await self._next_event(headers.get(b"lambda-extension-identifier", b"").decode())
        except Refused:
            return REFUSED
        return 404, b"{}", {}

    def _told(self, invocation: Invocation) -> Answer:
        headers = {
            "content-type": "application/json",
            "lambda-runtime-aws-request-id": invocation.request_id,
            "lambda-runtime-deadline-ms": str(int(invocation.deadline * 1000)),
            "lambda-runtime-invoked-function-arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function.name}",
        }
        if invocation.trace:
            headers["lambda-runtime-trace-id"] = invocation.trace
        return 200, invocation.event, headers

    def _posted(self, request_id: str, outcome: str, body: bytes) -> Answer:
        invocation = self._invocation
        if not invocation or invocation.request_id != request_id:
            return refusal("InvalidRequestID", 400)
        if invocation.answered:
            return REFUSED
        if outcome == "response":
            invocation.succeed(body)
        else:
            invocation.fail(Kind.RAISED, _error(body))
        return 202, b"{}", {}

    def _register(self, name: str, body: bytes) -> Answer:
        if not name:
            return refusal("Extension.InvalidExtensionName")
        try:
            events = json.loads(body)["events"]
        except (ValueError, KeyError, TypeError):
            return refusal("InvalidRequestFormat")
        if events != ["INVOKE"]:  # Lambda takes none, too; then it tells it nothing and does not wait for it
            return refusal("Extension.InvalidEventType")
        if self.refuse_extensions or self.restored or self.initialised or "runtime" in self._asking:
            return refusal("Extension.RegistrationClosed")
        if len(self.extensions) >= 10:
            return refusal("Extension.TooManyExtensions")
        if name in self._names:
            return refusal("Extension.InvalidExtensionState")
        self._names.add(name)
        self.extensions.append(identifier := str(uuid4()))
        return 200, b"{}", {"lambda-extension-identifier": identifier}

    async def _next_event(self, identifier: str) -> Answer:
        if self.null_answers:
            self.null_answers -= 1
            return 200, b"null", {}
        if not identifier:
            return refusal("Extension.MissingExtensionIdentifier")
        try:
            UUID(identifier)
        except ValueError:
            return refusal("Extension.InvalidExtensionIdentifier")
        if identifier not in self.extensions:
            return refusal("Extension.UnknownExtensionIdentifier")
        try:
            invocation = await self.next_for(identifier)
        except Refused:
            return refusal("Extension.InvalidExtensionState")
        event = {
            "eventType": "INVOKE",
            "requestId": invocation.request_id,
            "deadlineMs": int(invocation.deadline * 1000),
        }
        return 200, json.dumps(event).encode(), {}


def _error(body: bytes) -> dict[str, Any]:
    """What the runtime posted as an error: it need not be JSON."""
    with suppress(ValueError):
        if isinstance(error := json.loads(body), dict):
            return error
    return {"errorType": "Runtime.Unknown", "errorMessage": body.decode(errors="replace")}


def _listener() -> socket.socket:
    """A socket of a kind that asyncio knows as TCP: on another one a small answer waits 40 ms for the ACK before it."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


class Apis:
    """One server for the APIs of all sandboxes: each has a port of its own, which says who asks."""

    def __init__(self) -> None:
        # Twice as many as are needed, and the last one in use comes last: so what a killed process still sent is not
        # taken for words of the next one.
        sockets = [_listener() for _ in range(2 * IN_ALL)]
        self._free = deque(each.getsockname()[1] for each in sockets)
        self._sandboxes: dict[int, Sandbox] = {}
        config = serving.config(
            self._serve,
            interface="asgi3",
            log_config=None,
            date_header=False,
            timeout_keep_alive=24 * 3600,
            timeout_graceful_shutdown=1,
        )
        self._server = serving.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets))

    async def close(self) -> None:
        self._server.should_exit = True
        await self._serving

    @contextmanager
    def port(self, sandbox: Sandbox) -> Iterator[str]:
        """Answer this sandbox; gives the address."""
        port = self._free.popleft()
        self._sandboxes[port] = sandbox
        try:
            yield f"127.0.0.1:{port}"
        finally:
            del self._sandboxes[port]
            self._free.append(port)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        sandbox = self._sandboxes.get(scope["server"][1])
        if sandbox:
            asked = scope["method"], scope["path"], dict(scope["headers"]), body
            status, answer, headers = await sandbox.answer(*asked)
        else:
            status, answer, headers = REFUSED
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        encoded.append((b"content-length", str(len(answer)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": answer})


@dataclass
class _Pool:
    """The sandboxes of one function, and the invocations that wait for one."""

    function: Function
    sandboxes: list[Sandbox] = field(default_factory=list)
    waiting: deque[Invocation] = field(default_factory=deque)

    def serve(self) -> None:
        """Give what waits to idle sandboxes; the one that worked last comes first."""
        while self.waiting and (idle := [each for each in self.sandboxes if each.idle]):
            invocation = self.waiting.popleft()
            if not invocation.answer.done():  # its caller may have gone away
                max(idle, key=lambda each: each.idle_since).begin(invocation)

    @property
    def needs_more(self) -> bool:
        starting = sum(not each.initialised for each in self.sandboxes)
        latest = time.monotonic() - PATIENCE
        return len(self.sandboxes) < OF_ONE and sum(each.arrived <= latest for each in self.waiting) > starting


def _print(function: str, line: str) -> None:
    print(f"{function}: {line}", file=sys.stderr)


class LocalLambda:
    """The functions of template.yaml, to be invoked."""

    def __init__(self, environment: Mapping[str, str], *, on_log: Callable[[str, str], None] = _print) -> None:
        self._environment, self._on_log = environment, on_log
        self._pools = {name: _Pool(function) for name, function in functions().items()}
        self._lives: set[asyncio.Task[None]] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._closing = False

    async def __aenter__(self) -> Self:
        self._apis = Apis()
        self._watch = asyncio.create_task(self._watch_memory())
        for pool in self._pools.values():
            if pool.function.warm:
                self._start(pool)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._watch.cancel()
        for pool in self._pools.values():
            for sandbox in list(pool.sandboxes):
                sandbox.end(message="Lambda has ended")
            _fail(pool.waiting, Kind.DIED, {"errorType": "Runtime.ExitError", "errorMessage": "Lambda has ended"})
        await asyncio.gather(*self._lives)
        await self._apis.close()

    async def invoke(self, function: str, event: Any, *, trace: str | None = None) -> Any:
        """The response of a function. Raises FunctionError when there is none, and KeyError for another name."""
        pool = self._pools[function]
        loop = asyncio.get_running_loop()
        invocation = Invocation(json.dumps(event).encode(), loop.create_future(), trace)
        pool.waiting.append(invocation)
        self._schedule()
        return json.loads(await invocation.answer)

    def _schedule(self) -> None:
        """Give what waits to who is idle, and start sandboxes where there are too few."""
        if self._closing:
            return
        pools = [pool for pool in self._pools.values() if pool.waiting]
        for pool in pools:  # these come first: the sandboxes of a busy function would never be free for them
            if not pool.sandboxes and self._make_room(0, pool):
                self._start(pool)
        for pool in pools:
            pool.serve()
        for pool in pools:
            while pool.needs_more and self._make_room(RESTED, pool):
                self._start(pool)
        if not self._looking and any(pool.waiting for pool in pools):
            self._looking = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        self._looking = None
        self._schedule()

    def _make_room(self, rested: float, pool: _Pool) -> bool:
        """Whether there may be one more sandbox: for that, an idle one of another function may end."""
        if sum(len(each.sandboxes) for each in self._pools.values()) < IN_ALL:
            return True
        others = [(other, each) for other in self._pools.values() if other is not pool for each in other.sandboxes]
        latest = time.monotonic() - rested
        # One that was just started for somebody who waits is used first: two functions could end each other's for ever.
        idle = [
            (other, each)
            for other, each in others
            if each.idle and each.idle_since <= latest and (each.used or not other.waiting)
        ]
        if not idle:
            return False
        other, longest = min(idle, key=lambda each: each[1].idle_since)
        other.sandboxes.remove(longest)
        longest.end(message="It made room for another function")
        return True

    def _start(self, pool: _Pool) -> None:
        sandbox = Sandbox(pool.function, self._on_change)
        pool.sandboxes.append(sandbox)
        life = asyncio.create_task(self._live(sandbox))
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _live(self, sandbox: Sandbox) -> None:
        with self._apis.port(sandbox) as address:
            try:
                await sandbox.run(address, self._environment, self._on_log)
            finally:
                sandbox.end()

    def _on_change(self, sandbox: Sandbox) -> None:
        pool = self._pools[sandbox.function.name]
        if sandbox.ended and sandbox in pool.sandboxes:
            pool.sandboxes.remove(sandbox)
            if sandbox.initialised and not self._closing:
                self._start(pool)
            elif not any(each.initialised for each in pool.sandboxes):  # the next one would not start, either
                _fail(pool.waiting, *sandbox.ended)
        asyncio.get_running_loop().call_soon(self._schedule)

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(WATCH)
            for pool in self._pools.values():
                for sandbox in list(pool.sandboxes):
                    if not sandbox.idle:
                        sandbox.check_memory()


def _fail(waiting: deque[Invocation], kind: Kind, error: dict[str, Any]) -> None:
    while waiting:
        waiting.popleft().fail(kind, error)
