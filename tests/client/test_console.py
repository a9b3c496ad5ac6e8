"""The console on this machine, for a stack that wants signed requests, without a browser."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import httpx
import pytest
from botocore import exceptions
from botocore.response import StreamingBody
from botocore.stub import Stubber
from missions_client import CannotSignIn, Client, MissionsError, Unreachable, aws
from missions_client.auth import SigV4
from missions_client.console import Server

from local.eventbridge import REGION
from local.processes import unused_port
from local.sign_in import CREDENTIALS
from tests.stack import running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a stack of `make run` that takes signed requests only."""
    with running(tmp_path_factory.mktemp("signed"), AUTH="iam") as (url, _):
        yield url


def auth() -> SigV4:
    return SigV4(REGION, credentials=CREDENTIALS)


def operate(payload: Any) -> Any:
    if payload == {"action": "fail"}:
        raise MissionsError("its store is away")
    return {"undelivered": 7, "asked": payload}


@pytest.fixture
def server(signed: str) -> Iterator[Server]:
    with Server(0, signed, auth(), operate) as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def page(server: Server) -> Iterator[httpx.Client]:
    """A browser that opened the address."""
    with httpx.Client(base_url=server.url, headers={"x-missions-key": server.key}, timeout=10) as made:
        yield made


def test_the_page_acts_with_the_credentials_of_who_started_it(page: httpx.Client, signed: str) -> None:
    assert httpx.get(f"{signed}/api/missions").status_code == 403
    made = page.post("/api/missions", json={"name": "Signed for"}, headers={"idempotency-key": "k"})
    assert made.status_code == 201
    again = page.post("/api/missions", json={"name": "Signed for"}, headers={"idempotency-key": "k"})
    assert again.json()["id"] == made.json()["id"]  # so the header was passed on
    path = f"/api/missions/{made.json()['id']}"
    assert page.get(path, headers={"if-none-match": made.headers["etag"]}).status_code == 304
    assert page.get("/api/missions?status=PENDING&tag=a%3Db").json()["missions"] == []
    for query in ("name=Signed+for", "name=Signed%20for", "name=Signed+f*"):  # as browsers write it
        assert page.get(f"/api/missions?{query}").status_code == 200, query
    stale = page.post(f"{path}/status", json={"status": "CANCELLED"}, headers={"if-match": '"9"'})
    assert stale.status_code == 412
    assert page.post(f"{path}/status", json={"status": "CANCELLED"}).json()["status"] == "CANCELLED"
    assert page.delete(path).status_code == 204


def test_the_files_are_those_of_the_api_with_what_keeps_them_safe(page: httpx.Client, signed: str) -> None:
    assert page.get("/").text == page.get("/console").text == httpx.get(f"{signed}/console").text
    script, other = page.get("/console/main.js"), httpx.get(f"{signed}/console/main.js")
    assert script.content == other.content
    for name in ("content-type", "etag", "cache-control", "content-security-policy", "cross-origin-opener-policy",
                 "referrer-policy", "x-content-type-options"):  # fmt: skip
        assert script.headers[name] == other.headers[name]
    assert page.get("/console/main.js", headers={"if-none-match": script.headers["etag"]}).status_code == 304
    assert page.get("/console/vendor/uPlot.esm.js").status_code == 200
    assert page.get("/console/none.js").status_code == 404


def test_the_page_of_operators_is_there_when_somebody_can_operate(page: httpx.Client, signed: str) -> None:
    assert page.get("/console/config.json").json() == {"signed": True, "operate": True}
    with Server(0, signed, auth()) as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        with httpx.Client(base_url=made.url, headers={"x-missions-key": made.key}) as other:
            assert other.get("/console/config.json").json() == {"signed": True}
            asked = other.post("/console/operate", json={})
        made.shutdown()
    assert asked.status_code == 404


def test_operators_are_answered(page: httpx.Client) -> None:
    asked = page.post("/console/operate", json={"action": "count"})
    assert asked.json() == {"undelivered": 7, "asked": {"action": "count"}}


@pytest.mark.parametrize("key", [None, "", "wrong", "\u00e9"])
def test_who_has_no_key_gets_the_files_alone(server: Server, key: str | None) -> None:
    sent = httpx.Headers({} if key is None else {"x-missions-key": key}, encoding="utf-8")
    assert httpx.get(f"{server.url}/", headers=sent).status_code == 200
    answers = [
        httpx.get(f"{server.url}/api/missions", headers=sent),
        httpx.post(f"{server.url}/api/missions", headers=sent, json={"name": "n"}),
        httpx.post(f"{server.url}/console/operate", headers=sent, json={"action": "count"}),
    ]
    assert [each.status_code for each in answers] == [401] * 3
    assert all("missions console" in each.json()["message"] for each in answers)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@evil.example"])
def test_another_host_is_not_served(page: httpx.Client, host: str) -> None:
    assert [page.get(path, headers={"host": host}).status_code for path in ("/", "/api/missions")] == [403, 403]


@pytest.mark.parametrize(
    "head",
    [
        "POST /elsewhere HTTP/1.1\r\ncontent-length: {size}",
        "GET /console/main.js HTTP/1.1\r\ncontent-length: {size}",
        "POST /console/operate HTTP/1.1\r\ncontent-length: {size}",
        "POST /api/missions HTTP/1.1\r\ncontent-length: 0\r\ncontent-length: {size}",
        "POST /api/missions HTTP/1.1\r\ntransfer-encoding: chunked",
    ],
)
def test_a_body_is_never_taken_for_the_next_request(server: Server, head: str) -> None:
    inner = f"GET /api/missions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-missions-key: {server.key}\r\n\r\n"
    own = f"host: 127.0.0.1\r\nx-missions-key: {server.key}\r\nconnection: keep-alive"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(f"{head.format(size=len(inner))}\r\n{own}\r\n\r\n{inner}".encode())
        connection.shutdown(socket.SHUT_WR)
        answered = b""
        while part := connection.recv(65536):
            answered += part
    assert answered.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/console/operate", "{", 400),
        ("/console/operate", "[" * 100_000, 400),
        ("/console/operate", '{"action": "fail"}', 503),
        ("/elsewhere", "{}", 404),
        ("/console/main.js", "{}", 404),
        ("/api/missionsx", "{}", 404),
        ("/api/missions", "x" * (1024 * 1024 + 1), 413),
    ],
)
def test_what_makes_no_sense_is_refused(page: httpx.Client, path: str, body: str, status: int) -> None:
    answer = page.post(path, content=body)
    assert (answer.status_code, list(answer.json())) == (status, ["message"])


@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere", "/api/missionsx", "/api/missions/../elsewhere", "/api/missions/%2e%2E/elsewhere",
        "/api/missions/..%2felsewhere", "/api/missions/..%5celsewhere", "/console/../elsewhere",
        "/console/%2e%2e/elsewhere", "/console/..", "/console//elsewhere", "//evil.example/api/missions",
        "http://evil.example/api/missions", "@evil.example/api/missions",
    ],
)  # fmt: skip
def test_nothing_else_is_asked_with_the_credentials(path: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def request(method: str, url: str, **_: Any) -> httpx.Response:
        asked.append(url)
        return httpx.Response(200)

    monkeypatch.setattr(server.client, "request", request)
    headers = f"Host: 127.0.0.1\r\nx-missions-key: {server.key}\r\nConnection: close\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode())
        answer = connection.makefile("rb").readline()
    assert (answer.split()[1], asked) == (b"404", [])


def test_an_api_that_is_away_is_answered_with_503() -> None:
    with Server(0, f"http://127.0.0.1:{unused_port()}", auth()) as made:
        threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
        with httpx.Client(base_url=made.url, headers={"x-missions-key": made.key}) as page:
            answers = [page.get("/api/missions"), page.get("/")]
        made.shutdown()
    assert [(each.status_code, "does not answer" in each.json()["message"]) for each in answers] == [(503, True)] * 2


def test_the_command_serves_where_requests_are_signed(signed: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "client"), "AWS_CONFIG_FILE": str(tmp_path / "aws"),
    }  # fmt: skip
    (tmp_path / "aws").write_text(
        f"[profile p]\nregion = {REGION}\naws_access_key_id = local\naws_secret_access_key = local\n"
    )
    command = [sys.executable, "-c", "from missions_client.cli import script; script()", "--url", signed]
    command += ["--profile", "p", "open", "build-7"]
    with Client(signed, auth=auth()) as client:
        client.create("Build", id="build-7")
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = process.stdout.readline().split()[-1]
        url, _, key = address.partition("/#key=")
        key, _, opened = key.partition("/")
        assert opened == "missions/build-7"
        with httpx.Client(base_url=url, headers={"x-missions-key": key}, timeout=10) as page:
            assert "<title>Missions</title>" in page.get("/").text
            assert "missions" in page.get("/api/missions").json()
        process.send_signal(2)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, told.strip()) == (130, "")


class Functions:
    """A session of botocore whose clients answer what a test says, and check what they are sent."""

    def __init__(self) -> None:
        self._session = botocore.session.Session()
        self._session.set_credentials("key", "secret")
        self.stubs = {}
        self.clients = {}
        for name in ("cloudformation", "lambda"):
            self.clients[name] = self._session.create_client(name, region_name=REGION)
            self.stubs[name] = Stubber(self.clients[name])
            self.stubs[name].activate()

    def create_client(self, name: str) -> Any:
        return self.clients[name]

    def has(self, **outputs: str) -> None:
        listed = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        stack = {"StackName": "missions-dev", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE", "Outputs": listed}
        self.stubs["cloudformation"].add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "missions-dev"})

    def answers(self, body: Any, **members: Any) -> None:
        content = json.dumps(body).encode()
        payload = StreamingBody(io.BytesIO(content), len(content))
        expected = {"FunctionName": "operate", "Payload": '{"action": "count"}'}
        self.stubs["lambda"].add_response("invoke", {"StatusCode": 200, "Payload": payload, **members}, expected)


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Functions:
    made = Functions()
    monkeypatch.setattr(aws, "session", lambda profile: made)
    return made


def test_the_operator_function_of_a_stack_is_invoked(functions: Functions) -> None:
    functions.has(ApiUrl="https://x", OperatorFunctionName="operate")
    functions.answers({"dead": 0})
    assert aws.Operator("missions-dev", None)({"action": "count"}) == {"dead": 0}


def test_what_the_function_failed_at_is_told(functions: Functions) -> None:
    functions.has(OperatorFunctionName="operate")
    functions.answers({"errorMessage": "no store"}, FunctionError="Unhandled")
    with pytest.raises(MissionsError, match="no store"):
        aws.Operator("missions-dev", None)({"action": "count"})


def test_a_stack_without_a_function_is_told(functions: Functions) -> None:
    functions.has(ApiUrl="https://x")
    with pytest.raises(MissionsError, match="Is it one of Missions"):
        aws.Operator("missions-dev", None)


REFUSED: Any = {"ResponseMetadata": {"HTTPStatusCode": 403}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.EndpointConnectionError(endpoint_url="https://sts"), Unreachable),
        (exceptions.ConnectTimeoutError(endpoint_url="https://sts"), Unreachable),
        (exceptions.ClientError(REFUSED, "AssumeRole"), CannotSignIn),
        (exceptions.NoCredentialsError(), CannotSignIn),
        (RuntimeError("the refreshed credentials are still expired"), CannotSignIn),
    ],
    ids=lambda each: type(each).__name__,
)
def test_credentials_that_cannot_be_had_are_an_error_of_this_package(error: Exception, kind: type[Exception]) -> None:
    class Credentials:
        def get_frozen_credentials(self) -> None:
            raise error

    with (
        Client("http://127.0.0.1:9", auth=SigV4(REGION, credentials=Credentials())) as client,
        pytest.raises(MissionsError) as caught,
    ):
        client.health()
    assert type(caught.value) is kind


@pytest.mark.parametrize(("status", "kind"), [(403, CannotSignIn), (400, MissionsError)])
def test_a_refusal_of_aws_is_told(status: int, kind: type[MissionsError], functions: Functions) -> None:
    functions.stubs["cloudformation"].add_client_error("describe_stacks", "Denied", "not you", status)
    with pytest.raises(MissionsError, match="not you") as caught:
        aws.outputs("missions-dev", None)
    assert type(caught.value) is kind
