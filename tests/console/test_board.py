"""The board follows what changes, costs little, and keeps still under the mouse."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.console.conftest import Stack, wait_until_read


def column(page: Page, status: str) -> Locator:
    return page.locator(f"section.column.{status.lower()}")


def names(page: Page, status: str) -> list[str]:
    return list(column(page, status).locator(".card h3").all_inner_texts())


def scroll_to_the_end(page: Page, status: str, count: int) -> None:
    """Scroll on until so many cards are there: pages are read one after the other."""
    scroller, cards = column(page, status).locator(".scroller"), column(page, status).locator(".card")
    deadline = time.monotonic() + 30
    while cards.count() < count and time.monotonic() < deadline:
        scroller.evaluate("each => { each.scrollTop = each.scrollHeight }")
        page.wait_for_timeout(200)
    scroller.evaluate("each => { each.scrollTop = each.scrollHeight }")


def test_each_status_has_its_column_with_its_count_and_the_newest_first(
    window: Callable[..., Page], stack: Stack, tag: str
) -> None:
    first = stack.create("First", tags=[tag])
    stack.create("Second", tags=[tag])
    stack.move(stack.create("Done", tags=[tag]), "RUNNING", "COMPLETED")
    page = window(f"{stack.url}/")
    total = stack("GET", "/stats/overview")["stats"]["by_status"]
    for status, count in total.items():
        expect(column(page, status).locator(".count")).to_have_text(f"{count:,}")
    expect(column(page, "COMPLETED").locator(".card").first).to_contain_text("Done")
    assert names(page, "PENDING")[:2] == ["Second", "First"]
    column(page, "PENDING").get_by_role("link", name="First").first.click()
    expect(page).to_have_url(f"{stack.url}/#/missions/{first}")


def test_a_new_mission_and_each_change_appear_without_a_reload(board: Page, stack: Stack, tag: str) -> None:
    board.evaluate("window.same = true")
    mission = stack.create("Live", tags=[tag])
    expect(column(board, "PENDING").locator(".card")).to_contain_text(["Live"])
    for before, status in (("PENDING", "RUNNING"), ("RUNNING", "FAILED")):
        stack.move(mission, status, **({"reason": "disk full"} if status == "FAILED" else {}))
        expect(column(board, status).locator(".card")).to_contain_text("Live")
        expect(column(board, before).locator(".card")).to_have_count(0)
    expect(column(board, "FAILED").locator(".card")).to_contain_text("disk full")
    assert board.evaluate("window.same")


def test_signs_of_life_are_seen_while_a_mission_runs(board: Page, stack: Stack, tag: str) -> None:
    mission = stack.create("Working", tags=[tag])
    stack("POST", "/claim", {"tags": [tag], "worker": "worker-1"})
    expect(column(board, "RUNNING").locator(".card")).to_contain_text("worker-1")
    stack("POST", f"/{mission}/heartbeat", {"progress": 0.5, "note": "halfway"})
    expect(column(board, "RUNNING").locator(".card")).to_contain_text("halfway")
    expect(column(board, "RUNNING").get_by_role("progressbar")).to_have_attribute("value", "0.5")


def test_while_nothing_changes_a_poll_is_one_304(window: Callable[..., Page], stack: Stack, tag: str) -> None:
    stack.create(tags=[tag])  # an empty namespace has no entity tag
    page = window(f"{stack.url}/")
    wait_until_read(page)
    time.sleep(4)  # what was read at once with the statistics is read again
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.url.removeprefix(stack.url), answer.status)))
    page.wait_for_timeout(5000)
    assert 2 <= len(answers) <= 5
    assert set(answers) == {("/api/missions/stats/overview", 304)}


def test_no_request_is_larger_than_a_page(window: Callable[..., Page], stack: Stack) -> None:
    asked: list[str] = []
    page = window()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{stack.url}/")
    wait_until_read(page)
    lists = [url for url in asked if "/api/missions?" in url]
    assert len(lists) == 5
    assert all("limit=25" in url for url in lists)


def test_polling_stops_while_the_tab_is_hidden_and_goes_on_when_it_is_shown(
    board: Page, stack: Stack, tag: str
) -> None:
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    board.evaluate(hide, True)
    board.wait_for_timeout(2000)
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    stack.create("While away", tags=[tag])
    board.wait_for_timeout(4000)
    assert asked == []
    board.evaluate(hide, False)
    expect(column(board, "PENDING").locator(".card")).to_contain_text("While away")


def test_nothing_moves_under_the_mouse_until_it_leaves(board: Page, stack: Stack, tag: str) -> None:
    mission = stack.create("Here", tags=[tag])
    card = column(board, "PENDING").locator(".card", has_text="Here")
    expect(card).to_be_visible()
    card.hover()
    place = card.bounding_box()
    stack.create("Above", tags=[tag])
    fresh = column(board, "PENDING").get_by_role("button", name="1 new")
    expect(fresh).to_be_visible()
    assert names(board, "PENDING") == ["Here"]
    assert card.bounding_box() == place
    stack.move(mission, "RUNNING")  # it stays where it is, and says what became of it
    expect(card).to_contain_text("now ▶ RUNNING")
    assert card.bounding_box() == place
    board.mouse.move(2, 2)
    expect(column(board, "PENDING").locator(".card h3")).to_have_text(["Above"])
    expect(fresh).to_be_hidden()


def test_the_button_shows_what_is_new_at_once(board: Page, stack: Stack, tag: str) -> None:
    stack.create("Old", tags=[tag])
    card = column(board, "PENDING").locator(".card", has_text="Old")
    card.hover()
    for number in range(3):
        stack.create(f"New {number}", tags=[tag])
    column(board, "PENDING").get_by_role("button", name="3 new").click()
    expect(column(board, "PENDING").locator(".card h3")).to_have_text(["New 2", "New 1", "New 0", "Old"])
    expect(board.locator(":focus")).to_have_text("New 2")


def test_scrolling_shows_every_mission_once_and_those_further_down_are_live(
    board: Page, stack: Stack, tag: str
) -> None:
    ids = [stack.create(f"Mission {number}", tags=[tag]) for number in range(60)]
    expect(column(board, "PENDING").locator(".card").first).to_contain_text("Mission 59")
    scroll_to_the_end(board, "PENDING", 60)
    expect(column(board, "PENDING").locator(".card h3")).to_have_text([f"Mission {n}" for n in reversed(range(60))])
    expect(column(board, "PENDING").locator(".count")).to_have_text("60")
    stack.move(ids[2], "RUNNING")
    expect(column(board, "PENDING").locator(".card", has_text="Mission 2created")).to_have_count(0)
    expect(column(board, "PENDING").locator(".card", has_text="now ▶ RUNNING")).to_have_count(1)
    expect(column(board, "RUNNING").locator(".card")).to_contain_text("Mission 2")


def test_who_scrolls_on_while_a_list_is_read_loses_no_card(board: Page, stack: Stack, tag: str) -> None:
    ids = [stack.create(f"Mission {number}", tags=[tag]) for number in range(60)]
    cards = column(board, "PENDING").locator(".card")
    expect(cards.first).to_contain_text("Mission 59")
    scroll_to_the_end(board, "PENDING", 60)
    expect(cards).to_have_count(60)
    scroller = column(board, "PENDING").locator(".scroller")
    scroller.evaluate("each => { each.scrollTop = 0 }")
    held: list[Route] = []
    board.route("**/api/missions?*status=PENDING*", lambda route: held.append(route), times=1)
    with board.expect_request("**/api/missions?*status=PENDING*"):
        stack.create("Another", tags=[tag])
    scroller.evaluate("each => { each.scrollTop = each.scrollHeight }")
    column(board, "PENDING").locator(".cards").evaluate("""list => {
        window.fewest = list.children.length;
        const look = () => { window.fewest = Math.min(window.fewest, list.children.length); };
        new MutationObserver(look).observe(list, { childList: true });
    }""")
    held.pop().continue_()
    expect(column(board, "PENDING").get_by_role("button", name="1 new")).to_be_visible()
    assert board.evaluate("window.fewest") == 60
    stack.move(ids[0], "RUNNING")
    expect(cards.last).to_contain_text("now ▶ RUNNING")


def test_many_that_come_at_once_leave_no_gap_and_no_ghost(board: Page, stack: Stack, tag: str) -> None:
    ids = [stack.create(f"Old {number}", tags=[tag]) for number in range(20)]
    expect(column(board, "PENDING").locator(".card")).to_have_count(20)
    for number in range(100):
        stack.create(f"New {number}", tags=[tag])
    expect(column(board, "PENDING").locator(".card").first).to_contain_text("New 99")
    scroll_to_the_end(board, "PENDING", 120)
    expect(column(board, "PENDING").locator(".card")).to_have_count(120)
    for each in ids:
        stack.move(each, "RUNNING")
    expect(column(board, "RUNNING").locator(".card")).to_have_count(20)
    column(board, "PENDING").locator(".scroller").evaluate("each => { each.scrollTop = 0 }")
    expect(column(board, "PENDING").locator(".card.left")).to_have_count(0)  # they go when nobody reads further down
    scroll_to_the_end(board, "PENDING", 100)
    expect(column(board, "PENDING").locator(".card")).to_have_count(100)
    expect(column(board, "PENDING").locator(".count")).to_have_text("100")


def test_what_changes_out_of_view_is_right_when_it_comes_into_view(board: Page, stack: Stack, tag: str) -> None:
    ids = [stack.create(f"Mission {number}", tags=[tag]) for number in range(60)]
    expect(column(board, "PENDING").locator(".card").first).to_contain_text("Mission 59")
    scroll_to_the_end(board, "PENDING", 60)
    column(board, "PENDING").locator(".scroller").evaluate("each => { each.scrollTop = 0 }")
    board.mouse.move(2, 2)
    stack.move(ids[2], "RUNNING")
    expect(column(board, "RUNNING").locator(".card")).to_have_count(1)
    scroll_to_the_end(board, "PENDING", 59)
    expect(column(board, "PENDING").locator(".card h3")).to_have_text(
        [f"Mission {number}" for number in reversed(range(60)) if number != 2]
    )


def test_an_outage_at_the_end_of_a_column_is_no_flood(board: Page, stack: Stack, tag: str) -> None:
    for number in range(40):
        stack.create(f"Mission {number}", tags=[tag])
    expect(column(board, "PENDING").locator(".card").first).to_contain_text("Mission 39")
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    board.route("**/api/missions?**", lambda route: route.fulfill(status=503, json={"detail": "away"}))
    column(board, "PENDING").locator(".scroller").evaluate("each => { each.scrollTop = each.scrollHeight }")
    board.wait_for_timeout(3000)
    assert len(asked) < 15
    board.unroute("**/api/missions?**")
    scroll_to_the_end(board, "PENDING", 40)
    expect(column(board, "PENDING").locator(".card")).to_have_count(40)


def test_who_comes_back_finds_the_place_and_the_filter(window: Callable[..., Page], stack: Stack, tag: str) -> None:
    for number in range(60):
        stack.create(f"Mission {number}", tags=[tag])
    page = window(f"{stack.url}/#/?tag={tag}")
    expect(column(page, "PENDING").locator(".card").first).to_contain_text("Mission 59")
    scroll_to_the_end(page, "PENDING", 60)
    column(page, "PENDING").get_by_role("link", name="Mission 7", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.locator(".path").get_by_role("link", name="Board").click()
    expect(page).to_have_url(f"{stack.url}/#/?tag={tag}")
    back = column(page, "PENDING").get_by_role("link", name="Mission 7", exact=True)
    expect(back).to_be_focused()
    expect(back).to_be_in_viewport()


def test_arrow_keys_lead_through_the_board(board: Page, stack: Stack, tag: str) -> None:
    stack.create("First", tags=[tag])
    stack.create("Second", tags=[tag])
    stack.move(stack.create("Done", tags=[tag]), "RUNNING", "COMPLETED")
    expect(board.locator(".card")).to_have_count(3)
    column(board, "PENDING").get_by_role("link", name="Second").focus()
    for key, name in (("ArrowDown", "First"), ("ArrowUp", "Second"), ("ArrowRight", "Done"), ("ArrowLeft", "Second")):
        board.keyboard.press(key)
        expect(board.locator(":focus")).to_have_text(name)


def test_a_board_without_a_mission_says_so(board: Page) -> None:
    expect(board.get_by_text("No mission matches this filter.")).to_be_visible()


def test_an_address_has_its_times_in_utc(window: Callable[..., Page], stack: Stack, tag: str) -> None:
    page = window(f"{stack.url}/#/?tag={tag}")
    page.get_by_label("Created from").fill("2026-07-01T02:00")  # in Berlin
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(f"{stack.url}/#/?tag={tag.replace('=', '%3D')}&from=2026-07-01T00%3A00%3A00.000Z")
    page.reload()
    expect(page.get_by_label("Created from")).to_have_value("2026-07-01T02:00")


def test_missions_are_found_by_status_name_and_time(window: Callable[..., Page], stack: Stack, tag: str) -> None:
    stack.create("Nightly build", tags=[tag, "kind=job"])
    stack.create("Deploy", tags=[tag])
    stack.move(stack.create("Nightly report", tags=[tag]), "RUNNING")
    page = window(f"{stack.url}/#/?tag={tag}")
    expect(page.locator(".card")).to_have_count(3)
    expect(page.get_by_text(f"Filter: tag {tag}")).to_be_visible()
    page.get_by_label("Name begins with").fill("NIGHT")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".card h3")).to_have_text(["Nightly build", "Nightly report"])
    page.get_by_role("checkbox", name="RUNNING").check()
    expect(page.locator(".card h3")).to_have_text(["Nightly report"])
    expect(page.locator(".column")).to_have_count(1)
    page.go_back()
    expect(page.locator(".column")).to_have_count(5)
    page.get_by_role("searchbox", name="Tags").fill(f"{tag}, kind=job")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".card h3")).to_have_text(["Nightly build"])
    later = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(hours=1)
    page.get_by_label("Created from").fill(later.strftime("%Y-%m-%dT%H:%M"))
    expect(page.locator(".card")).to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(f"{stack.url}/#/")


def test_a_filter_that_is_refused_is_told_in_words(board: Page, stack: Stack, tag: str) -> None:
    stack.create("There", tags=[tag])
    board.get_by_role("searchbox", name="Tags").fill("<b> no tag")
    board.get_by_role("button", name="Filter").click()
    expect(board.get_by_role("alert")).to_contain_text("The filter is refused. Tags: ")
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    board.wait_for_timeout(3000)
    assert asked == []  # it would be refused again
    board.get_by_role("searchbox", name="Tags").fill(tag)
    board.get_by_role("button", name="Filter").click()
    expect(board.locator(".card")).to_contain_text("There")
    expect(board.get_by_role("alert")).to_have_count(0)  # an empty one is hidden


def test_a_mission_is_found_by_its_id(board: Page, stack: Stack) -> None:
    mission = stack.create("By its id")
    board.get_by_label("Go to a mission by its id").fill(f" {mission} ")
    board.keyboard.press("Enter")
    expect(board.get_by_role("heading", level=1)).to_have_text("By its id")


@pytest.mark.parametrize("wrong", ["..", "stats", "a b", "../../docs", "%2e%2e", "<img src=x>", "x" * 128 + "?"])
def test_what_is_no_id_is_told_in_words_and_nothing_is_asked(board: Page, wrong: str) -> None:
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    board.evaluate("id => { location.hash = `#/missions/${encodeURIComponent(id)}` }", wrong)
    expect(board.locator("main")).to_contain_text("This is no id of a mission.")
    board.wait_for_timeout(300)
    assert [url for url in asked if "/api/missions/" in url and "/stats/overview" not in url] == []
