"""make console: the console on this machine, for a stack that wants signed requests."""

import json
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

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


@pytest.fixture(scope="module")
def server(signed: Stack) -> Iterator[Server]:
    def operate(payload: Any) -> Any:
        if payload == {"action": "fail"}:
            raise RuntimeError("its store is away")
        return {"undelivered": 7, "oldest_seconds": 3, "dead": 0, "entries": [], "cursor": None}

    with Server(0, signed.url, Signed(CREDENTIALS, REGION), operate) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def get(server: Server, path: str, **headers: str) -> requests.Response:
    return requests.get(server.address.partition("?")[0].rstrip("/") + path, headers=headers, timeout=10)


def test_the_page_acts_with_the_credentials_of_who_started_it(
    window: Callable[..., Page], signed: Stack, server: Server
) -> None:
    mission = signed.create("Signed for")
    page = window(server.address)
    expect(page).not_to_have_url(server.address)  # the key is not in the address any more
    expect(page.locator(".pending .card")).to_contain_text(["Signed for"])
    page.get_by_role("link", name="Signed for").click()
    page.get_by_role("button", name="Start").click()
    page.get_by_role("dialog").get_by_role("button", name="Start").click()
    expect(page.locator("p.status")).to_have_text("▶ RUNNING")
    assert signed("GET", f"/{mission}")["status"] == "RUNNING"
    page.get_by_role("link", name="Operators").click()
    expect(page.locator(".figures")).to_contain_text("7")


def test_without_a_signature_the_page_says_what_is_missing(window: Callable[..., Page], signed: Stack) -> None:
    page = window(f"{signed.url}/")
    expect(page.locator("#banner")).to_contain_text("This API takes signed requests only")


@pytest.mark.parametrize("path", ["/", "/console/main.js", "/api/missions", "/?key=wrong"])
def test_who_has_no_key_gets_nothing(server: Server, path: str) -> None:
    assert get(server, path).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"host": "evil.example"}, 403),
        ({"cookie": "missions-console=wrong"}, 403),
    ],
    ids=["its own page", "another origin", "another host", "another key"],
)
def test_only_its_own_page_is_trusted(server: Server, headers: dict[str, str], status: int) -> None:
    own = {"cookie": f"missions-console={server.key}"}
    assert get(server, "/api/missions", **own | headers).status_code == status


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/console/operate", '{"action": "count"}', {}, 403),
        ("/console/operate", "{", {"x-missions-console": "1"}, 400),
        ("/console/operate", '{"action": "fail"}', {"x-missions-console": "1"}, 503),
        ("/elsewhere", "{}", {}, 404),
        ("/api/missions", "x" * (1024 * 1024 + 1), {}, 413),
    ],
)
def test_what_makes_no_sense_is_refused(
    server: Server, path: str, body: str, headers: dict[str, str], status: int
) -> None:
    own = {"cookie": f"missions-console={server.key}"} | headers
    url = server.address.partition("/?")[0] + path
    assert requests.post(url, body, headers=own, timeout=10).status_code == status


def test_an_api_that_is_away_is_answered_with_503() -> None:
    with Server(0, "http://127.0.0.1:9", None, None) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        answer = get(made, "/api/missions", cookie=f"missions-console={made.key}")
        made.shutdown()
    assert (answer.status_code, "ConnectionError" in answer.json()["message"]) == (503, True)


def test_what_the_function_failed_at_is_told() -> None:
    payload = SimpleNamespace(read=lambda: json.dumps({"errorMessage": "no store"}))
    client = SimpleNamespace(invoke=lambda **_: {"FunctionError": "Unhandled", "Payload": payload})
    with pytest.raises(RuntimeError, match="no store"):
        signed_console.invoke(client, "operate", {})
