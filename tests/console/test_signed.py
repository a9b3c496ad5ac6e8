"""make console: the console on this machine, for a stack that wants signed requests."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from botocore.credentials import Credentials
from playwright.sync_api import Page, expect
from requests.auth import AuthBase

from local import signed_console
from local.eventbridge import REGION
from local.sign_in import CREDENTIALS
from local.signed_console import Server
from local.smoke import Signed
from tests.console.conftest import Stack, running


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that wants signed requests."""
    with running(tmp_path_factory.mktemp("signed"), AUTH="iam") as stack:
        stack._session.auth = Signed(CREDENTIALS, REGION)
        yield stack


def operate(payload: Any) -> Any:
    if payload == {"action": "fail"}:
        raise RuntimeError("its store is away")
    return {"undelivered": 7, "oldest_seconds": 3, "dead": 0, "entries": [], "cursor": None}


@contextmanager
def serving(url: str, auth: AuthBase | None) -> Iterator[Server]:
    with Server(0, url, auth, operate) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def server(signed: Stack) -> Iterator[Server]:
    with serving(signed.url, Signed(CREDENTIALS, REGION)) as made:
        yield made


def get(server: Server, path: str, **headers: str) -> requests.Response:
    return requests.get(server.url + path, headers=headers, timeout=10)


def test_the_page_acts_with_the_credentials_of_who_started_it(
    window: Callable[..., Page], signed: Stack, server: Server
) -> None:
    mission = signed.create("Signed for")
    page = window(server.address)
    expect(page).not_to_have_url(server.address)  # the key is not in the address any more
    expect(page.locator(".pending .card")).to_contain_text(["Signed for"])
    page.get_by_role("link", name="Signed for").click()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("dialog").get_by_role("button", name="Start mission").click()
    expect(page.locator("p.status")).to_have_text("▶ RUNNING")
    assert signed("GET", f"/{mission}")["status"] == "RUNNING"
    page.get_by_role("link", name="Operators").click()
    expect(page.locator(".figures")).to_contain_text("7")


def test_without_a_signature_the_page_says_what_is_missing(window: Callable[..., Page], signed: Stack) -> None:
    page = window(f"{signed.url}/")
    expect(page.locator("#banner")).to_contain_text("This API takes signed requests only")


def test_without_the_key_the_page_says_what_to_open(window: Callable[..., Page], server: Server) -> None:
    page = window(server.url)
    expect(page.locator("#banner")).to_contain_text("Open the address that was printed when this console was started.")


def test_credentials_that_aws_does_not_accept_are_told(window: Callable[..., Page], signed: Stack) -> None:
    wrong = Signed(Credentials("local", "another secret"), REGION)
    with serving(signed.url, wrong) as made:
        page = window(made.address)
        expect(page.locator("#banner")).to_contain_text("AWS does not accept your credentials")


@pytest.mark.parametrize("headers", [{}, {"x-missions-key": "wrong"}, {"cookie": "missions-console=x"}], ids=str)
def test_who_has_no_key_gets_the_files_alone(server: Server, headers: dict[str, str]) -> None:
    assert get(server, "/", **headers).status_code == 200
    assert get(server, "/api/missions", **headers).status_code == 401
    assert requests.post(f"{server.url}/console/operate", "{}", headers=headers, timeout=10).status_code == 401


def test_another_host_is_not_served(server: Server) -> None:
    own = {"x-missions-key": server.key, "host": "evil.example"}
    assert [get(server, path, **own).status_code for path in ("/", "/api/missions")] == [403, 403]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/console/operate", "{", 400),
        ("/console/operate", '{"action": "fail"}', 503),
        ("/elsewhere", "{}", 404),
        ("/api/missions/../../docs", "{}", 404),
        ("/api/missions/%2e%2e/%2e%2e/docs", "{}", 404),
        ("/api/missions", "x" * (1024 * 1024 + 1), 413),
    ],
)
def test_what_makes_no_sense_is_refused(server: Server, path: str, body: str, status: int) -> None:
    request = requests.Request("POST", server.url, data=body, headers={"x-missions-key": server.key}).prepare()
    request.url = server.url + path  # as it stands
    with requests.Session() as session:
        assert session.send(request, timeout=10).status_code == status


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
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        own = f"host: 127.0.0.1\r\nx-missions-key: {server.key}\r\nconnection: keep-alive"
        connection.sendall(f"{head.format(size=len(inner))}\r\n{own}\r\n\r\n{inner}".encode())
        connection.shutdown(socket.SHUT_WR)
        answered = b""
        while part := connection.recv(65536):
            answered += part
    assert answered.count(b"HTTP/1.1 ") == 1


def test_an_api_that_is_away_is_answered_with_503() -> None:
    with serving("http://127.0.0.1:9", None) as made:
        answer = get(made, "/api/missions", **{"x-missions-key": made.key})
    assert (answer.status_code, "ConnectionError" in answer.json()["message"]) == (503, True)


def test_what_the_function_failed_at_is_told() -> None:
    payload = SimpleNamespace(read=lambda: json.dumps({"errorMessage": "no store"}))
    client = SimpleNamespace(invoke=lambda **_: {"FunctionError": "Unhandled", "Payload": payload})
    with pytest.raises(RuntimeError, match="no store"):
        signed_console.invoke(client, "operate", {})
