"""The console in a real Chromium, against `make run` with real traffic.

The browser is the one that CHROMIUM names, or the first of the usual names. A test fails if the page logs an error,
and so if anything is kept away by the Content-Security-Policy.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

import tests.stack

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDE = {"width": 1280, "height": 800}
PATIENCE = 10_000  # milliseconds that the page may take where no test says otherwise

expect.set_options(timeout=PATIENCE)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--images", type=Path, help="the folder to put the screenshots of the docs into")


class Stack:
    """A stack of `make run`, with the API to make traffic."""

    def __init__(self, url: str, redis_port: int) -> None:
        self.url = url
        self.redis = redis.Redis(port=redis_port, decode_responses=True)
        self._session = requests.Session()

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The body of the answer, which must not be a refusal."""
        answer = self._session.request(method, f"{self.url}/api/missions{path}", json=body, timeout=40, **options)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def create(self, name: str = "Deploy", **members: Any) -> str:
        return str(self("POST", "", {"name": name, **members})["id"])

    def move(self, mission_id: str, *statuses: str, **members: Any) -> None:
        for status in statuses:
            self("POST", f"/{mission_id}/status", {"status": status, **(members if status == statuses[-1] else {})})

    def log(self, mission_id: str, *messages: str, level: str = "info") -> None:
        entries = [{"message": each, "level": level} for each in messages]
        for first in range(0, len(entries), 100):
            self("POST", f"/{mission_id}/log", {"entries": entries[first : first + 100]})


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Stack]:
    """`make run` in this folder, on free ports."""
    with tests.stack.running(folder, **settings) as (url, redis_port):
        stack = Stack(url, redis_port)
        yield stack
        stack.redis.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack")) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if not found:
        pytest.fail("There is no Chromium. Install it (Debian: apt-get install chromium), or set CHROMIUM to its path")
    # Its sandbox does not work for root, as which containers run tests; the pages here are our own
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=options)
        yield made
        made.close()


class Window:
    """What the errors of pages are collected from."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.errors: list[str] = []
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", self._on_console)
        context.set_default_timeout(PATIENCE)

    def _on_console(self, message: ConsoleMessage) -> None:
        # A refused request is told, too; the page itself says what that means
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page in a context of its own, which has these options."""
    made: list[Window] = []

    def opened(url: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "locale": "en-GB", "timezone_id": "Europe/Berlin"} | options)
        made.append(Window(context))
        page = context.new_page()
        if url:
            page.goto(url)
        return page

    yield opened
    for each in made:
        each.context.close()
    assert [error for each in made for error in each.errors] == []


@pytest.fixture
def tag() -> str:
    """A tag that no other test uses: the board shows missions of this test alone."""
    return f"test={uuid4().hex[:8]}"


def wait_until_read(page: Page) -> None:
    """Wait until the board shows what it has read, in each of its columns."""
    expect(page.locator(".column:not([aria-busy])")).to_have_count(5)


@pytest.fixture
def board(window: Callable[..., Page], stack: Stack, tag: str) -> Page:
    """The board with the missions of this test."""
    page = window(f"{stack.url}/#/?tag={tag}")
    wait_until_read(page)
    return page
