"""For tests and benchmarks: one sandbox of the local Lambda, driven from another thread than that of the event loop."""

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import uvicorn

from local.lambdas import INITIALISATION, Apis, Function, FunctionError, Invocation, Sandbox, functions
from local.processes import ROOT

T = TypeVar("T")


@cache
def background() -> tuple[asyncio.AbstractEventLoop, Apis]:
    """An event loop in a thread, with the APIs. It runs as long as this process: an extension may ask for ever."""
    loop = uvicorn.Config("", log_config=None).get_loop_factory()()  # type: ignore[misc]
    threading.Thread(target=loop.run_forever, name="lambda", daemon=True).start()

    async def apis() -> Apis:
        return Apis()

    return loop, asyncio.run_coroutine_threadsafe(apis(), loop).result()


def _in_background(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, background()[0]).result(INITIALISATION)


class DrivenSandbox(Sandbox):
    """A sandbox that is told what to do, one thing after the other."""

    def __init__(self, function: Function) -> None:
        super().__init__(function, self._notify)
        self.address = ""
        self.log: deque[str] = deque(maxlen=20)
        self._state = threading.Condition()
        self._runtime: asyncio.Future[Invocation] | None = None

    def _notify(self, _: Sandbox) -> None:
        with self._state:
            self._state.notify_all()

    def wait_until_idle(self) -> None:
        """Wait until the runtime and all extensions ask for the next event: nothing is going on any more."""
        with self._state:
            if not self._state.wait_for(lambda: self.idle or self.ended, INITIALISATION) or self.ended:
                raise TimeoutError("\n".join(("the sandbox does not get on", str(self.ended), *self.log)))

    def invoke(self, event: Any) -> tuple[Any, float]:
        """Invoke once the sandbox is idle; gives the response or the error, and the seconds until it was there."""
        self.wait_until_idle()
        started = time.perf_counter()
        try:
            answer = json.loads(_in_background(self._invoke(event)))
        except FunctionError as error:
            answer = {"error": error.error}
        return answer, time.perf_counter() - started

    async def _invoke(self, event: Any) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.begin(Invocation(json.dumps(event).encode(), answer))
        return await answer

    def extensions_only(self, request_id: str, handler: Callable[[], None]) -> None:
        """An invocation whose runtime is this handler; returns when the extensions are done with it."""

        async def ask() -> None:
            if not self._runtime or self._runtime.done():
                self._runtime = asyncio.ensure_future(self.next_for("runtime"))

        async def begin() -> None:
            self.begin(Invocation(b"{}", asyncio.get_running_loop().create_future(), request_id=request_id))

        async def post() -> None:
            self._posted(request_id, "response", b"{}")

        _in_background(ask())
        self.wait_until_idle()
        _in_background(begin())
        handler()
        _in_background(post())
        _in_background(ask())
        self.wait_until_idle()


@contextmanager
def lambda_apis() -> Iterator[DrivenSandbox]:
    """The APIs for a runtime and extensions within this process, at the address of the sandbox."""
    _, apis = background()
    driven = DrivenSandbox(Function("missions", ROOT, timeout=INITIALISATION))
    with apis.port(driven) as driven.address:
        yield driven


@contextmanager
def sandbox(
    function: str, environment: Mapping[str, str], *, refuse_extensions: bool = False
) -> Iterator[DrivenSandbox]:
    """A function in a process of its own; it is killed in the end."""
    loop, apis = background()
    driven = DrivenSandbox(functions()[function])
    driven.refuse_extensions = refuse_extensions
    with apis.port(driven) as driven.address:
        life = driven.run(driven.address, environment, lambda _, line: driven.log.append(line))
        running = asyncio.run_coroutine_threadsafe(life, loop)
        try:
            yield driven
        finally:
            loop.call_soon_threadsafe(driven.end)
            running.result(INITIALISATION)
