"""missions console: the console on this machine, for a stack that wants signed requests, in a browser."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.credentials import Credentials
from missions_client.auth import SigV4
from missions_client.console import Server
from playwright.sync_api import Page, expect

from local.eventbridge import REGION
from local.sign_in import CREDENTIALS
from local.smoke import Signed
from tests.console.conftest import Stack, running


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that wants signed requests."""
    with running(tmp_path_factory.mktemp("signed"), AUTH="iam") as stack:
        stack._session.auth = Signed(CREDENTIALS, REGION)
        yield stack


def operate(payload: Any) -> Any:
    return {"undelivered": 7, "oldest_seconds": 3, "dead": 0, "entries": [], "cursor": None}


@contextmanager
def serving(url: str, credentials: Credentials) -> Iterator[Server]:
    with Server(0, url, SigV4(REGION, credentials=credentials), operate) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def server(signed: Stack) -> Iterator[Server]:
    with serving(signed.url, CREDENTIALS) as made:
        yield made


def test_the_page_acts_with_the_credentials_of_who_started_it(
    window: Callable[..., Page], signed: Stack, server: Server
) -> None:
    mission = signed.create("Signed for")
    page = window(server.address())
    expect(page).to_have_url(f"{server.url}/#/")  # without the key
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
    with serving(signed.url, Credentials("local", "another secret")) as made:
        page = window(made.address("/overview"))
        expect(page.locator("#banner")).to_contain_text("AWS does not accept your credentials")
