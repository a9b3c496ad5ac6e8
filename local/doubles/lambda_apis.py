"""The Runtime and Extensions APIs of one sandbox, answering as Lambda does: a caller has its response at once.

The rules are those of AWS's published emulator (aws-lambda-runtime-interface-emulator, in internal/lambda/core the file
internalagent_states.go, and rapi/handler/agentnext.go): an invocation is told to the runtime and to each extension. It
is over when the response is there and all have asked for the next one. Who asks again before an answer gets 403.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.doubles.http import Handler, serve

ROOT = Path(__file__).parents[2]
INITIALISATION = 30  # seconds, also for what one invocation takes


class Refused(Exception):
    """403: it asked for the next event before, and has no answer yet."""


@dataclass
class Invocation:
    """An invocation that is going on: who was told of it, and its response."""

    request_id: str
    event: bytes
    told: set[str] = field(default_factory=set)
    answer: Any = None


@dataclass
class Sandbox:
    """What one sandbox asked and answered."""

    address: str = ""
    extensions: list[str] = field(default_factory=list)
    refuse_extensions: bool = False
    restored: bool = False
    null_answers: int = 0  # how many of the next questions of extensions are answered by null
    kill: Callable[[], None] = lambda: None
    errors: list[Any] = field(default_factory=list)
    _state: threading.Condition = field(default_factory=threading.Condition)
    _ready: set[str] = field(default_factory=set)  # who asked for the next event
    _invocation: Invocation | None = None

    def wait_until_idle(self) -> None:
        """Wait until the runtime and all extensions ask for the next event: nothing is going on any more."""
        with self._state:
            self._wait(lambda: self._everybody <= self._ready and not self._invocation)

    def invoke(self, event: Any) -> tuple[Any, float]:
        """Invoke once the sandbox is idle; gives the response and the seconds until it was there."""
        self.wait_until_idle()
        with self._state:
            started = time.perf_counter()
            self._invocation = invocation = Invocation(str(uuid4()), json.dumps(event).encode())
            self._state.notify_all()
            self._wait(lambda: invocation.answer is not None)
            return invocation.answer, time.perf_counter() - started

    def extensions_only(self, request_id: str, handler: Callable[[], None]) -> None:
        """An invocation whose runtime is this handler; returns when the extensions are done with it."""
        self.wait_for_extensions()
        with self._state:
            self._invocation = Invocation(request_id, b"{}", told={"runtime"})
            self._state.notify_all()
        handler()
        self.answer({})
        with self._state:
            self._ready.add("runtime")
            self._end()
            self._wait(lambda: self._invocation is None)

    def wait_for_extensions(self) -> None:
        """Wait until every extension asks for the next event."""
        with self._state:
            self._wait(lambda: {*self.extensions} <= self._ready)

    def next_for(self, who: str) -> Invocation:
        """Wait for the next invocation. Raises Refused."""
        with self._state:
            if who in self._ready:
                raise Refused
            self._ready.add(who)
            self._end()
            while not (invocation := self._invocation) or who in invocation.told:
                self._state.wait()
            invocation.told.add(who)
            self._ready.discard(who)
            return invocation

    def answer(self, body: Any) -> None:
        """The runtime posts its response."""
        with self._state:
            if self._invocation:
                self._invocation.answer = body
            self._state.notify_all()

    def _wait(self, happened: Callable[[], bool]) -> None:
        if not self._state.wait_for(happened, INITIALISATION):
            raise TimeoutError("the sandbox does not get on")

    @property
    def _everybody(self) -> set[str]:
        return {"runtime", *self.extensions}

    def _end(self) -> None:
        now = self._invocation
        if now and now.answer is not None and self._everybody <= now.told & self._ready:
            self._invocation = None
        self._state.notify_all()


@contextmanager
def lambda_double() -> Iterator[Sandbox]:
    """Serve the APIs on a free port of the loopback interface."""
    state = Sandbox()

    class Apis(Handler):
        def do_GET(self) -> None:
            if self.path.endswith("/runtime/invocation/next"):
                invocation = state.next_for("runtime")
                headers = {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 10_000),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:missions",
                    "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
                }
                self.send(200, invocation.event, **headers)
            elif self.path.endswith("/runtime/restore/next"):  # a snapshot was taken; this sandbox starts from it
                state.restored = True
                self.send(200, b"{}")
            elif self.path.endswith("/extension/event/next"):
                if state.null_answers:
                    state.null_answers -= 1
                    self.send(200, b"null")
                    return
                try:
                    invocation = state.next_for(self.headers["Lambda-Extension-Identifier"])
                except Refused:
                    self.send(403, b"{}")
                    return
                self.send(200, json.dumps({"eventType": "INVOKE", "requestId": invocation.request_id}).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.endswith("/extension/register"):
                if state.refuse_extensions:
                    self.send(403, b"{}")
                    return
                identifier = str(uuid4())
                state.extensions.append(identifier)
                self.send(200, b"{}", **{"Lambda-Extension-Identifier": identifier})
            elif self.path.endswith("/response"):
                state.answer(json.loads(body))
                self.send(202, b"{}")
            else:
                state.errors.append(json.loads(body))
                state.answer({"error": json.loads(body)})
                self.send(202, b"{}")

    with serve(Apis) as state.address:
        yield state


@contextmanager
def sandbox(function: str, environment: dict[str, str], *, refuse_extensions: bool = False) -> Iterator[Sandbox]:
    """A function in a process of its own under AWS's runtime client; it is killed in the end."""
    folder = ROOT / "functions" / function
    with lambda_double() as double:
        double.refuse_extensions = refuse_extensions
        own = {
            "AWS_LAMBDA_RUNTIME_API": double.address,
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT / "layers/missions"))),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", "app.handler"],
            env=os.environ | environment | own,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        double.kill = process.kill
        try:
            yield double
        finally:
            process.kill()
            process.wait()
