"""For everybody: screen readers, keyboards, small windows, dark rooms; and small answers with many missions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Request, expect

from benchmarks.recording import load
from tests.console.conftest import Stack, running, wait_until_read
from tests.console.test_operators import bury

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text()
MANY = 100_000
PAGES = ["board", "filters", "overview", "mission", "dialog", "removed", "operators", "not found"]


@pytest.fixture(scope="module")
def busy(stack: Stack) -> str:
    """A mission with all that may be shown, beside others in each status; its id."""
    data = {"commit": "4f2a9c1", "steps": [{"name": "build"}, {"name": "a-name-of-a-step-without-any-space" * 5}]}
    for number, statuses in enumerate(
        ([], ["RUNNING"], ["RUNNING", "COMPLETED"], ["RUNNING", "FAILED"], ["CANCELLED"])
    ):
        stack.move(stack.create(f"Mission {number}", tags=["env=prod"], data=data), *statuses)
    mission = stack.create("W" * 200, tags=["env=prod", "team=" + "a" * 45], data=data, retries=3, timeout=3600)
    stack("POST", "/claim", {"tags": ["team=" + "a" * 45], "worker": "worker-1", "lease": 600})
    stack("POST", f"/{mission}/heartbeat", {"progress": 0.4, "note": "step 2 of 5"})
    for level in ("debug", "info", "warning", "error"):
        stack.log(mission, f"An entry with the level {level}", "x" * 500, level=level)
    bury(stack, mission)
    return mission


def visit(page: Page, stack: Stack, name: str, mission: str) -> None:
    """Go to one of PAGES and wait until it is complete."""
    addresses = {"board": "/", "filters": "/?tag=env%3Dprod", "not found": "/nowhere"}
    addresses |= dict.fromkeys(("mission", "dialog", "removed"), f"/missions/{mission}")
    if name == "removed":
        addresses["removed"] = f"/missions/{(gone := stack.create('Gone'))}"
        stack.move(gone, "CANCELLED")
    page.goto(f"{stack.url}/#{addresses.get(name, f'/{name}')}")
    match name:
        case "board" | "filters":
            wait_until_read(page)
        case "overview":
            expect(page.locator("canvas")).to_have_count(2)
            page.get_by_text("The same as a table").click()
        case "operators":
            expect(page.locator(".letters > li").first).to_be_visible()
        case "not found":
            expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
        case _:
            expect(page.locator(".entry").first).to_be_visible()
    if name == "dialog":
        page.get_by_role("button", name="Fail").click()
    if name == "removed":
        stack("DELETE", f"/{gone}")
        expect(page.locator(".notice")).not_to_be_empty()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(
    window: Callable[..., Page], stack: Stack, busy: str, name: str, scheme: str
) -> None:
    page = window(color_scheme=scheme)
    visit(page, stack, name, busy)
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run()).violations")
    told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found if each["impact"] != "minor"]
    assert told == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_small_window(window: Callable[..., Page], stack: Stack, busy: str, name: str) -> None:
    page = window(viewport={"width": 360, "height": 640}, has_touch=True)
    visit(page, stack, name, busy)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = """() => [...document.querySelectorAll('main > :not(.columns), .top, .top > *, #banner, dialog')]
        .filter((each) => each.getBoundingClientRect().right > 361).map((each) => each.outerHTML.slice(0, 200))"""
    assert page.evaluate(wide) == []


def test_what_is_shown_is_as_dark_as_the_room(window: Callable[..., Page], stack: Stack) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page = window(f"{stack.url}/#/overview", color_scheme=scheme)
        expect(page.locator("canvas")).to_have_count(2)
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shades == {"light": "rgb(245, 246, 248)", "dark": "rgb(20, 24, 31)"}


def test_all_can_be_done_with_the_keyboard(window: Callable[..., Page], stack: Stack, tag: str) -> None:
    mission = stack.create("By keyboard", tags=[tag])
    page = window(f"{stack.url}/#/?tag={tag}")
    expect(page.locator(".card")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    for _ in range(40):  # a field with a date takes six
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "By keyboard":
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{stack.url}/#/missions/{mission}")
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Cancel":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    page.keyboard.type("superseded")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("p.status")).to_have_text("⊘ CANCELLED superseded")
    expect(page.get_by_role("button", name="Retry")).to_be_focused()  # what had the focus is gone; it is not lost


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with many missions."""
    with running(tmp_path_factory.mktemp("full")) as stack:
        stack.create("The first")  # what writes is in the store now
        load(stack.redis, [str(uuid4()) for _ in range(MANY - 1)])
        yield stack


def test_the_first_board_of_many_missions_is_six_small_answers(window: Callable[..., Page], full: Stack) -> None:
    answered: list[Request] = []
    page = window()
    page.on("requestfinished", lambda each: answered.append(each))
    page.goto(f"{full.url}/")
    expect(page.locator(".pending .card")).to_have_count(25)
    expect(page.locator(".pending .count")).to_have_text(f"{MANY:,}")
    page.wait_for_timeout(5000)
    asked = [each for each in answered if "/api/missions" in each.url]
    of_all = [at for at, each in enumerate(asked) if "/stats/" in each.url]
    first = asked[: of_all[1]]  # the statistics that were asked for again come after all of the first board
    assert len(first) == 6
    assert 1000 < sum(each.sizes()["responseBodySize"] for each in first) < 50_000


@pytest.mark.parametrize("name", ["overview", "mission"])
def test_a_page_asks_again_every_one_or_two_seconds(window: Callable[..., Page], stack: Stack, name: str) -> None:
    mission = stack.create("Looked at")
    page = window(f"{stack.url}/#/{'overview' if name == 'overview' else f'missions/{mission}'}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview" if name == "overview" else "Looked at")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(5000)
    assert 2 <= asked.count(max(asked, key=asked.count)) <= 5
