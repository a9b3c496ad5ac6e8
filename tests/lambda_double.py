"""The Runtime and Extensions APIs of one sandbox, answering as Lambda does: a caller has its response at once.

The next invocation begins once the runtime and every extension ask for one, as in Lambda.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.http_double import Handler, serve

ROOT = Path(__file__).parents[1]
INITIALISATION = 30  # seconds


@dataclass
class Sandbox:
    """What one sandbox asked and answered."""

    address: str = ""
    extensions: list[str] = field(default_factory=list)
    refuse_extensions: bool = False
    kill: Callable[[], None] = lambda: None
    calls: Counter[str] = field(default_factory=Counter)  # for the next event, by who asked
    errors: list[Any] = field(default_factory=list)
    _state: threading.Condition = field(default_factory=threading.Condition)
    _waiting: set[str] = field(default_factory=set)
    _event: tuple[str, bytes] | None = None  # the invocation that is going on
    _taken: set[str] = field(default_factory=set)  # who was told of it
    _answer: Any = None

    def wait_until_idle(self) -> None:
        """Wait until the runtime and all extensions ask for the next event: nothing is going on any more."""
        with self._state:
            everybody = {"runtime", *self.extensions}
            assert self._state.wait_for(lambda: everybody <= self._waiting and not self._event, INITIALISATION)

    def invoke(self, event: dict[str, Any]) -> tuple[Any, float]:
        """Invoke once the sandbox is idle; gives the response and the seconds until it was there."""
        self.wait_until_idle()
        with self._state:
            self._answer = None
            self._taken.clear()
            started = time.perf_counter()
            self._event = (str(uuid4()), json.dumps(event).encode())
            self._state.notify_all()
            assert self._state.wait_for(lambda: self._answer is not None, INITIALISATION)
            seconds = time.perf_counter() - started
            return self._answer, seconds

    def extensions_only(self, request_id: str, handler: Callable[[], None]) -> None:
        """An invocation whose runtime is this handler; returns when the extensions are done with it."""
        with self._state:
            assert self._state.wait_for(lambda: {*self.extensions} <= self._waiting, INITIALISATION)
            self._answer = None
            self._taken.clear()
            self._waiting.discard("runtime")
            self._event = (request_id, b"{}")
            self._state.notify_all()
        handler()
        self.answer({})
        with self._state:
            self._waiting.add("runtime")
            self._taken.add("runtime")
            assert self._state.wait_for(lambda: self._event is None, INITIALISATION)

    def next_for(self, who: str) -> tuple[str, bytes]:
        with self._state:
            self.calls[who] += 1
            call = self.calls[who]
            self._waiting.add(who)
            if self._event and self._answer is not None and {"runtime", *self.extensions} <= self._waiting:
                self._event = None
            self._state.notify_all()
            self._state.wait_for(lambda: self.calls[who] > call or (self._event is not None and who not in self._taken))
            if self.calls[who] > call:
                raise ConnectionAbortedError("it asked again on another connection")
            assert self._event
            self._taken.add(who)
            self._waiting.discard(who)
            return self._event

    def answer(self, body: Any) -> None:
        with self._state:
            self._answer = body
            self._state.notify_all()


@contextmanager
def lambda_double() -> Iterator[Sandbox]:
    """Serve the APIs on a free port of the loopback interface."""
    state = Sandbox()

    class Apis(Handler):
        def do_GET(self) -> None:
            if self.path.endswith("/runtime/invocation/next"):
                request_id, event = state.next_for("runtime")
                headers = {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 10_000),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:missions",
                    "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
                }
                self.send(200, event, **headers)
            elif self.path.endswith("/extension/event/next"):
                request_id, _ = state.next_for(self.headers["Lambda-Extension-Identifier"])
                self.send(200, json.dumps({"eventType": "INVOKE", "requestId": request_id}).encode())

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
