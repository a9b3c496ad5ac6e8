"""The overview shows what the statistics and the history say."""

import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.console.conftest import Stack


def figure(page: Page, name: str) -> str:
    return page.locator(".figures div", has_text=name).locator("dd").inner_text()


def test_it_shows_what_was_created_and_how_it_ended(window: Callable[..., Page], stack: Stack) -> None:
    for status in ("COMPLETED", "COMPLETED", "FAILED"):
        stack.move(stack.create(), "RUNNING", status)
    page = window(f"{stack.url}/#/overview")
    expect(page.locator("canvas")).to_have_count(2)
    stats = stack("GET", "/stats/overview")["stats"]
    assert figure(page, "Missions") == f"{stats['total']:,}"
    assert figure(page, "Failed") == f"{stats['by_status']['FAILED']:,}"
    assert figure(page, "Success rate") == f"{100 * stats['success_rate']:.1f}".removesuffix(".0") + "%"
    assert figure(page, "(p95)").endswith("\u00a0s")
    (now, *_) = reversed(stack("GET", "/stats/history")["history"])
    page.get_by_text("The same as a table").click()
    cells = page.locator(".as-table tbody tr").first.locator("td").all_inner_texts()
    assert cells[:4] == [f"{now[name]:,}" for name in ("created", "completed", "failed", "cancelled")]
    expect(page.locator(".as-table tbody tr")).to_have_count(24)
    chart = page.get_by_role("img", name="What was created, and how it ended: created ")
    expect(chart).to_have_count(1)
    page.get_by_label("the last 30 days, by day").check()
    expect(page.locator(".as-table tbody tr")).to_have_count(30)


def test_its_figures_follow_what_happens(window: Callable[..., Page], stack: Stack) -> None:
    page = window(f"{stack.url}/#/overview")
    expect(page.locator(".figures dd").first).not_to_be_empty()
    before = int(figure(page, "Missions").replace(",", ""))
    stack.create()
    expect(page.locator(".figures dd").first).to_have_text(f"{before + 1:,}")


def test_what_runs_longest_comes_first(window: Callable[..., Page], stack: Stack) -> None:
    stack("POST", "/cancel", {"filter": {"status": ["RUNNING"]}})  # of other tests; ten are shown
    created_first = stack.create("Created first")
    created_later = stack.create("Created later")
    stack.move(created_later, "RUNNING")
    time.sleep(1.1)
    stack.move(created_first, "RUNNING")
    page = window(f"{stack.url}/#/overview")
    longest = page.locator("section", has=page.get_by_role("heading", name="Running longest")).locator("li")
    expect(longest.filter(has_text="Created ")).to_have_count(2)
    names = longest.locator("a").all_inner_texts()
    assert names.index("Created later") < names.index("Created first")
    for each in (created_first, created_later):
        stack.move(each, "COMPLETED")
    expect(longest.filter(has_text="Created ")).to_have_count(0)


def test_what_is_overdue_is_shown(window: Callable[..., Page], stack: Stack) -> None:
    mission = stack.create("Too slow", timeout=1)
    stack.move(mission, "RUNNING")
    time.sleep(1.2)
    page = window(f"{stack.url}/#/overview")
    overdue = page.locator("section", has=page.get_by_role("heading", name="Overdue"))
    expect(overdue.get_by_role("link", name="Too slow")).to_have_attribute("href", f"#/missions/{mission}")
