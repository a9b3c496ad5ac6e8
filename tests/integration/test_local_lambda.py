"""The local Lambda: real processes, with AWS's own runtime client and with the small one that replaces it on macOS."""

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest

from local import lambdas
from local.driven import background, lambda_apis
from local.lambdas import Function, FunctionError, Kind, LocalLambda
from local.processes import ROOT

Define = Callable[..., None]
Body = Callable[[LocalLambda], Coroutine[Any, Any, None]]

INVOKE = '{"events": ["INVOKE"]}'
PID = "import os\ndef handler(event, context): return os.getpid()"
SLEEP = "import os, time\ndef handler(event, context): time.sleep(event); return os.getpid()"
# What is done after the response takes half a second; gives how much of it was done before
WITH_EXTENSION = """
    import os, time
    from missions.publishing.after_response import Extension
    extension, done = Extension(os.environ["AWS_LAMBDA_RUNTIME_API"]), []
    def work():
        time.sleep(0.5)
        done.append(1)
    def handler(event, context):
        extension.add(work)
        extension.handler_ended(context.aws_request_id)
        return len(done)
"""


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Define:
    """Define a function by its code; those of the template are not there."""
    defined: dict[str, Function] = {}
    monkeypatch.setattr(lambdas, "functions", lambda: defined)

    def define(name: str, code: str, **properties: Any) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(dedent(code))
        defined[name] = Function(name, tmp_path / name, **properties)

    return define


@pytest.fixture(params=["awslambdaric", "small"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs with both runtime clients."""
    monkeypatch.setattr(lambdas, "RUNTIME", request.param)


def running(body: Body, on_log: Callable[[str, str], None] = lambda *_: None) -> None:
    """Run this with a local Lambda, for 20 seconds at most."""

    async def run() -> None:
        async with LocalLambda({}, on_log=on_log) as local:
            await asyncio.wait_for(body(local), 20)

    asyncio.run(run())


async def error_of(invocation: Coroutine[Any, Any, Any]) -> FunctionError:
    with pytest.raises(FunctionError) as caught:
        await invocation
    return caught.value


def sandboxes(of: int | None = None) -> list[int]:
    """The processes of sandboxes that this process, or another one, has."""
    found = []
    for each in psutil.Process(of).children():
        with suppress(psutil.NoSuchProcess):
            if "local.runtime_client" in each.cmdline():
                found.append(each.pid)
    return found


async def until(happened: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.usefixtures("client")
def test_a_function_gets_the_event_the_trace_and_the_time_it_has(define: Define) -> None:
    define(
        "f",
        """
        import os
        def handler(event, context):
            left = context.get_remaining_time_in_millis()
            return [event, os.environ["_X_AMZN_TRACE_ID"], left, context.aws_request_id, os.environ["MINE"]]
        """,
        timeout=7,
    )

    async def body() -> None:
        async with LocalLambda({"MINE": "my own"}) as local:
            first, second = [await local.invoke("f", {"a": "é"}, trace="Root=1-2-3") for _ in range(2)]
            assert first[:2] == [{"a": "é"}, "Root=1-2-3"]
            assert 6_000 < first[2] <= 7_000
            assert first[3] != second[3]
            assert first[4] == "my own"

    asyncio.run(body())


@pytest.mark.usefixtures("client")
def test_the_caller_has_the_response_before_the_extension_is_done(define: Define) -> None:
    define("f", WITH_EXTENSION.replace("0.5", "5"))

    async def body(local: LocalLambda) -> None:
        while not local._pools["f"].sandboxes or not local._pools["f"].sandboxes[0].initialised:
            if not local._pools["f"].sandboxes:
                local._start(local._pools["f"])
            await asyncio.sleep(0.02)
        started = time.monotonic()
        assert await local.invoke("f", {}) == 0
        assert time.monotonic() - started < 4

    running(body)


@pytest.mark.usefixtures("client")
def test_a_sandbox_is_free_only_when_its_extension_has_asked_again(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "OF_ONE", 1)
    define("f", WITH_EXTENSION)

    async def body(local: LocalLambda) -> None:
        assert [await local.invoke("f", {}) for _ in range(3)] == [0, 1, 2]  # each found the work of the last one done

    running(body)


def test_who_asks_twice_or_out_of_turn_is_refused() -> None:
    with lambda_apis() as driven, ExitStack() as opened:

        def ask(method: str, path: str, body: str = INVOKE, extension: str = "") -> http.client.HTTPConnection:
            connection = http.client.HTTPConnection(driven.address, timeout=5)
            opened.callback(connection.close)
            headers = {"Lambda-Extension-Identifier": extension, "Lambda-Extension-Name": "one"}
            connection.request(method, f"/x/{path}", body if method == "POST" else None, headers)
            return connection

        def status(method: str, path: str, body: str = INVOKE, extension: str = "") -> int:
            return ask(method, path, body, extension).getresponse().status

        def waits(*asked: str) -> http.client.HTTPConnection:
            before, connection = len(driven._asking), ask(*asked)
            asyncio.run(until(lambda: len(driven._asking) > before))
            return connection

        assert status("POST", "extension/register") == 200
        extension = driven.extensions[0]
        assert status("GET", "extension/event/next", extension="another") == 403
        event = waits("GET", "extension/event/next", "", extension)
        assert status("GET", "extension/event/next", extension=extension) == 403
        runtime = waits("GET", "runtime/invocation/next")
        assert status("GET", "runtime/invocation/next") == 403
        assert status("POST", "extension/register") == 403
        assert status("GET", "runtime/other") == 404

        answers: list[Any] = []

        async def invoke() -> None:
            answers.append(await driven._invoke({}))

        loop, _ = background()
        asyncio.run_coroutine_threadsafe(invoke(), loop)
        request_id = json.loads(event.getresponse().read())["requestId"]
        assert runtime.getresponse().headers["Lambda-Runtime-Aws-Request-Id"] == request_id
        assert status("POST", "runtime/invocation/another/response") == 400
        assert status("POST", f"runtime/invocation/{request_id}/response", "1") == 202
        assert status("POST", f"runtime/invocation/{request_id}/response", "2") == 403
        assert answers == [b"1"]


@pytest.mark.usefixtures("client")
def test_a_function_that_raises_gives_its_error_and_goes_on(define: Define) -> None:
    define("f", "def handler(event, context): return 1 / event")

    async def body(local: LocalLambda) -> None:
        error = await error_of(local.invoke("f", 0))
        assert (error.kind, error.message) == (Kind.RAISED, "ZeroDivisionError: division by zero")
        assert error.error["stackTrace"]
        process = sandboxes()
        assert await local.invoke("f", 1) == 1
        assert sandboxes() == process

    running(body)


def test_a_function_that_takes_too_long_is_killed_and_replaced(define: Define) -> None:
    define("f", SLEEP, timeout=0.5)

    async def body(local: LocalLambda) -> None:
        killed = await local.invoke("f", 0)
        started = time.monotonic()
        error = await error_of(local.invoke("f", 60))
        assert 0.45 < time.monotonic() - started < 10
        assert error.kind is Kind.TIMED_OUT
        assert error.error["errorMessage"].endswith("Task timed out after 0.50 seconds")
        await until(lambda: gone(killed))
        await until(lambda: len(sandboxes()) == 1)  # replaced before anybody asks
        assert await local.invoke("f", 0) != killed

    running(body)


def test_an_extension_that_takes_too_long_is_killed_after_the_response(define: Define) -> None:
    define("f", WITH_EXTENSION.replace("0.5", "60"), timeout=0.3)

    async def body(local: LocalLambda) -> None:
        assert [await local.invoke("f", {}) for _ in range(2)] == [0, 0]

    running(body)


def test_a_function_that_takes_too_much_memory_is_killed(define: Define) -> None:
    code = "import time\ndef handler(event, context):\n much = bytearray(event * 2**20)\n time.sleep(30)"
    define("f", code, memory=128)

    async def body(local: LocalLambda) -> None:
        error = await error_of(local.invoke("f", 200))
        assert error.kind is Kind.OUT_OF_MEMORY
        assert error.error["errorType"] == "Runtime.OutOfMemory"

    running(body)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os\ndef handler(event, context): os._exit(3)", "exit status 3"),
        ("import os\ndef handler(event, context): os.kill(os.getpid(), 9)", "signal: killed"),
    ],
)
def test_the_request_of_a_sandbox_that_dies_gets_an_error_at_once(define: Define, code: str, how: str) -> None:
    define("f", code)

    async def body(local: LocalLambda) -> None:
        for _ in range(2):  # the second time it is the one that replaced the first
            error = await error_of(local.invoke("f", 0))
            assert error.kind is Kind.DIED
            assert error.error["errorMessage"].endswith(f"Runtime exited with error: {how}")
        await until(lambda: len(sandboxes()) == 1)

    running(body)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("code", ["import missing", "1 / 0", "no_handler = 1"])
def test_a_function_that_cannot_be_imported_gives_an_error_and_is_not_tried_again_and_again(
    define: Define, code: str
) -> None:
    log: list[str] = []
    define("f", f"print('begins')\n{code}", warm=True)

    async def body(local: LocalLambda) -> None:
        errors = await asyncio.gather(*(error_of(local.invoke("f", 0)) for _ in range(3)))
        assert {error.kind for error in errors} == {Kind.RAISED}
        assert errors[0].error["errorType"]
        await until(lambda: sandboxes() == [])
        await asyncio.sleep(0.5)
        assert sandboxes() == []

    running(body, lambda _, line: log.append(line))
    assert 1 <= log.count("begins") <= 3


def test_a_function_that_does_not_get_ready_gives_an_error(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambdas, "INITIALISATION", 0.5)
    define("f", "import time\ntime.sleep(60)")

    async def body(local: LocalLambda) -> None:
        assert (await error_of(local.invoke("f", 0))).kind is Kind.TIMED_OUT

    running(body)


def test_warm_functions_have_a_sandbox_and_others_start_on_demand_and_stay(define: Define) -> None:
    define("warm", PID, warm=True)
    define("cold", PID)

    async def body(local: LocalLambda) -> None:
        await until(lambda: len(sandboxes()) == 1)
        warm = sandboxes()
        assert [await local.invoke("warm", 0)] == warm
        cold = await local.invoke("cold", 0)
        assert sorted(sandboxes()) == sorted([*warm, cold])
        await asyncio.sleep(0.1)
        assert await local.invoke("cold", 0) == cold

    running(body)


def test_a_second_sandbox_starts_only_for_what_has_waited_a_little(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "LOOK", 0.3)  # longer, for a busy machine
    define("f", SLEEP)

    async def body(local: LocalLambda) -> None:
        for _ in range(50):  # each comes just before the runtime asks again
            await local.invoke("f", 0)
        before = len(sandboxes())
        await asyncio.gather(*(local.invoke("f", 1) for _ in range(2)))
        assert (before, len(sandboxes())) == (1, 2)

    running(body)


def test_a_function_has_four_sandboxes_at_most(define: Define) -> None:
    define("f", SLEEP)

    async def body(local: LocalLambda) -> None:
        pids = await asyncio.gather(*(local.invoke("f", 0.5) for _ in range(10)))
        assert len(set(pids)) == len(sandboxes()) == 4

    running(body)


def test_there_are_twelve_sandboxes_at_most_and_an_idle_one_makes_room(define: Define) -> None:
    for name in "abcd":
        define(name, SLEEP)

    async def body(local: LocalLambda) -> None:
        for name in "abc":
            await asyncio.gather(*(local.invoke(name, 0.7) for _ in range(4)))
        before = sandboxes()
        busy = [asyncio.create_task(local.invoke(name, 2)) for name in "abc" for _ in range(4) if name != "b"]
        await asyncio.sleep(0.1)
        pid = await local.invoke("d", 0)
        assert not all(each.done() for each in busy)
        await until(lambda: len(sandboxes()) == 12)
        assert len(before) == 12
        assert pid in {*sandboxes()} - {*before}
        made_room = {*before} - {*sandboxes()}
        assert len(made_room) == 1
        assert made_room.isdisjoint(await asyncio.gather(*busy))  # it was an idle one

    running(body)


def test_without_an_idle_sandbox_a_request_waits_and_is_not_put_off_for_ever(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "IN_ALL", 1)
    define("busy", SLEEP)
    define("f", PID)

    async def body(local: LocalLambda) -> None:
        others = [asyncio.create_task(local.invoke("busy", 0.1)) for _ in range(40)]
        await asyncio.sleep(0)
        await local.invoke("f", 0)
        assert not all(each.done() for each in others)
        await asyncio.gather(*others)

    running(body)


def test_a_caller_that_goes_away_does_not_harm_the_next_one(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambdas, "OF_ONE", 1)
    define("f", SLEEP)

    async def body(local: LocalLambda) -> None:
        process = await local.invoke("f", 0)
        runs, waits = (asyncio.create_task(local.invoke("f", 0.3)) for _ in range(2))
        await asyncio.sleep(0.1)
        runs.cancel()
        waits.cancel()
        assert await local.invoke("f", 0) == process

    running(body)


def test_what_a_sandbox_prints_is_told_line_by_line(define: Define) -> None:
    log: list[tuple[str, str]] = []
    code = """
        import os, sys
        def handler(event, context):
            print("one\\ntwo")
            print("x" * 200_000, file=sys.stderr)
            os.write(1, b"no end")
            os._exit(0)
    """
    define("f", code)

    async def body(local: LocalLambda) -> None:
        await error_of(local.invoke("f", 0))

    running(body, lambda *line: log.append(line))
    assert log == [("f", "one"), ("f", "two"), ("f", "x" * 200_000), ("f", "no end")]


def test_when_it_ends_no_process_is_left_and_who_waits_gets_an_error(
    define: Define, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "OF_ONE", 1)
    define("f", SLEEP)
    callers: list[asyncio.Task[FunctionError]] = []

    async def body(local: LocalLambda) -> None:
        await local.invoke("f", 0)
        assert all(os.getsid(pid) == pid for pid in sandboxes())  # so Ctrl-C in a terminal reaches only its parent
        callers.extend(asyncio.create_task(error_of(local.invoke("f", 60))) for _ in range(2))
        await asyncio.sleep(0.1)

    async def run() -> list[FunctionError]:
        async with LocalLambda({}) as local:
            await body(local)
        return await asyncio.gather(*callers)

    assert [error.kind for error in asyncio.run(run())] == [Kind.DIED] * 2
    assert sandboxes() == []


SERVICE = """
import asyncio, pathlib, sys
from local import lambdas
function = lambdas.Function("f", pathlib.Path(sys.argv[1]), timeout=60)
lambdas.functions = lambda: {"f": function}
lambdas.RUNTIME = sys.argv[2]
async def main():
    async with lambdas.LocalLambda({}) as local:
        print(await local.invoke("f", 0), flush=True)
        await local.invoke("f", 60)
asyncio.run(main())
"""


@pytest.mark.parametrize("runtime", ["awslambdaric", "small"])
def test_when_the_service_is_killed_its_sandboxes_end_even_in_the_middle_of_their_work(
    define: Define, tmp_path: Path, runtime: str
) -> None:
    define("f", SLEEP)
    command = [sys.executable, "-c", SERVICE, str(tmp_path / "f"), runtime]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}) as service:
        assert service.stdout
        pid = int(service.stdout.readline())
        time.sleep(0.2)
        started = sandboxes(service.pid)  # two on a busy machine
        assert pid in started
        service.send_signal(signal.SIGKILL)
    asyncio.run(until(lambda: all(map(gone, started)), 2))


def test_the_template_says_how_long_a_function_may_take_and_how_much_memory_it_has() -> None:
    found = lambdas.functions()
    assert {name for name, each in found.items() if each.warm} == lambdas.WARM
    assert (found["health"].timeout, found["relay_events"].timeout, found["health"].memory) == (10, 55, 512)
    assert found["sweep_missions"].timeout == 55
    assert all((each.folder / "app.py").exists() for each in found.values())
