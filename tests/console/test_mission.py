"""The page of a mission: what it shows, its log, and what can be done with it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import Stack


@pytest.fixture
def opened(window: Callable[..., Page], stack: Stack) -> Callable[[str], Page]:
    """The page of a mission."""

    def show(mission_id: str) -> Page:
        page = window(f"{stack.url}/#/missions/{mission_id}")
        expect(page.get_by_role("heading", name="Log")).to_be_visible()
        return page

    return show


def fact(page: Page, name: str) -> Locator:
    return page.locator(".known div", has=page.locator("dt", has_text=re.compile(f"^{name}$"))).locator("dd")


def entries(page: Page) -> Locator:
    return page.locator(".entry:visible .message")


def test_a_mission_shows_its_facts_its_statuses_and_its_data(opened: Callable[[str], Page], stack: Stack) -> None:
    data = {"commit": "4f2a9c1", "steps": [1, {"deep": True}], "big": 2**63 - 1, "none": None}
    members: dict[str, Any] = {"description": "For\nproduction", "data": data, "tags": ["env=prod"], "timeout": 900}
    mission = stack.create("Deploy v2.0", retries=2, backoff=30, **members)
    stack.move(mission, "RUNNING", "FAILED", reason="disk full")
    page = opened(mission)
    expect(page.get_by_role("heading", level=1)).to_have_text("Deploy v2.0")
    expect(page.locator("p.status")).to_have_text("✕ FAILED disk full")
    told = stack("GET", f"/{mission}")
    for name, text in {
        "Attempt": "1 of 3",
        "Timeout": "15\u00a0min",
        "Backoff": "30\u00a0s, twice as long after each attempt",
        "Version": "3",
        "Tags": "env=prod",
    }.items():
        expect(fact(page, name)).to_have_text(text)
    for name in ("Created", "Duration"):
        expect(fact(page, name)).not_to_be_empty()
    expect(page.locator(".description")).to_have_text("For\nproduction")
    expect(page.locator(".timeline li")).to_contain_text(["PENDING for ", "RUNNING for ", "FAILED"])
    expect(page.locator(".timeline li").last).to_contain_text("disk full")
    tree = page.locator("section", has=page.get_by_role("heading", name="Data"))
    expect(tree).to_contain_text("9223372036854775807")  # not rounded
    expect(tree).not_to_contain_text('"deep": true')
    tree.get_by_text("{ 1 member }").click()
    expect(tree).to_contain_text('"deep": true')
    page.get_by_role("link", name="attempt 2 →").click()
    expect(page).to_have_url(f"{stack.url}/#/missions/{told['next_attempt']}")
    page.get_by_role("link", name="← attempt 1").click()
    expect(page.locator("p.status")).to_have_text("✕ FAILED disk full")


def test_what_happens_is_seen_live(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Live")
    page = opened(mission)
    expect(entries(page)).to_have_text(["Mission created"])
    stack.move(mission, "RUNNING")
    expect(page.locator("p.status")).to_have_text("▶ RUNNING")
    stack.log(mission, "Step 1 done")
    expect(entries(page)).to_have_text(["Mission created", "Mission status changed", "Step 1 done"])
    stack("POST", f"/{mission}/heartbeat", {"progress": 0.25, "note": "step 2 of 4"})
    expect(fact(page, "Progress")).to_have_text("25 %")
    stack.log(mission, *(f"line {number}" for number in range(200)))
    expect(entries(page).last).to_have_text("line 199")
    end = "each => each.scrollTop + each.clientHeight >= each.scrollHeight - 1"
    assert page.get_by_role("region", name="Log entries").evaluate(end)
    stack.move(mission, "COMPLETED")
    expect(page.locator("p.status")).to_have_text("✓ COMPLETED")
    expect(page.get_by_role("group", name="Actions").get_by_role("button")).to_have_text(["Cancel", "Delete"])


def test_who_reads_further_up_is_not_moved_by_what_is_appended(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Long")
    stack.log(mission, *(f"line {number}" for number in range(90)))
    page = opened(mission)
    log = page.get_by_role("region", name="Log entries")
    expect(entries(page).last).to_have_text("line 89")
    log.evaluate("each => { each.scrollTop = 100 }")
    stack.log(mission, "one more")
    expect(entries(page).last).to_have_text("one more")
    assert log.evaluate("each => each.scrollTop") == 100


def test_a_log_is_read_backwards_searched_and_filtered(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Long")
    for first in range(0, 300, 100):
        stack.log(mission, *(f"line {number}" for number in range(first, first + 100)))
    stack.log(mission, "nearly full", level="warning")
    page = opened(mission)
    expect(entries(page)).to_have_count(100)
    for count in (200, 300, 302):
        page.get_by_role("button", name="Show earlier entries").click()
        expect(entries(page)).to_have_count(count)
    expect(page.get_by_role("button", name="Show earlier entries")).to_be_hidden()
    expect(entries(page).first).to_have_text("Mission created")
    page.get_by_label("Search these entries").fill("LINE 29")
    expect(page.get_by_text("11 of 302")).to_be_visible()
    expect(entries(page)).to_have_count(11)
    page.get_by_label("Search these entries").fill("")
    page.get_by_label("Show", exact=True).select_option("warnings and errors")
    expect(entries(page)).to_have_text(["nearly full"])
    stack.log(mission, "chatter")
    stack.log(mission, "it broke", level="error")
    expect(entries(page)).to_have_text(["nearly full", "it broke"])


def test_the_first_error_is_found_wherever_it_is(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Broken")
    page = opened(mission)
    page.get_by_role("button", name="First error").click()
    expect(page.get_by_text("There is no error in this log.")).to_be_visible()
    stack.log(mission, *(f"before {number}" for number in range(150)))
    stack.log(mission, "the first error", level="error")
    stack.log(mission, *(f"after {number}" for number in range(250)))
    stack.log(mission, "the second error", level="error")
    page.reload()
    expect(entries(page).last).to_have_text("the second error")
    page.get_by_role("button", name="First error").click()
    expect(page.locator(":focus")).to_contain_text("the first error")
    expect(page.locator(":focus")).to_be_in_viewport()
    expect(entries(page)).to_have_count(403)
    expect(entries(page).nth(150)).to_be_in_viewport()  # what is before it may explain it
    stack.log(mission, "still followed")
    expect(entries(page).last).to_have_text("still followed")
    page.get_by_role("button", name="Newest").click()
    expect(entries(page)).to_have_count(100)


def test_the_first_error_of_a_very_long_log_is_where_reading_goes_on(
    opened: Callable[[str], Page], stack: Stack
) -> None:
    mission = stack.create("Very long")
    stack.log(mission, "the first error", level="error")
    stack.log(mission, *(f"after {number}" for number in range(2150)))
    page = opened(mission)
    expect(entries(page).last).to_have_text("after 2149")
    page.get_by_role("button", name="First error").click()
    expect(page.locator(":focus")).to_contain_text("the first error")
    expect(entries(page).first).to_have_text("the first error")
    later = page.locator("button", has_text="Show later entries")
    while later.is_visible():
        later.evaluate("each => each.click()")
        page.wait_for_timeout(50)
    expect(entries(page).last).to_have_text("after 2149")
    stack.log(mission, "followed again")
    expect(entries(page).last).to_have_text("followed again")


def test_a_long_log_opens_at_its_end_and_is_followed(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Long")
    stack.log(mission, *(f"line {number}" for number in range(90)))
    page = opened(mission)
    expect(entries(page)).to_have_count(91)
    page.get_by_role("region", name="Log entries").scroll_into_view_if_needed()
    expect(entries(page).last).to_be_in_viewport()
    stack.log(mission, "one more")
    expect(entries(page).last).to_have_text("one more")
    expect(entries(page).last).to_be_in_viewport()


def test_more_entries_than_are_shown_at_once_leave_the_end_of_the_log(
    opened: Callable[[str], Page], stack: Stack
) -> None:
    mission = stack.create("Chatty")
    page = opened(mission)
    expect(entries(page)).to_have_count(1)
    stack.log(mission, *(f"line {number}" for number in range(2300)))
    expect(entries(page).last).to_have_text("line 2299")
    page.wait_for_timeout(2000)
    assert 0 < page.locator(".entry").count() <= 2001
    expect(entries(page).last).to_have_text("line 2299")


def test_a_level_that_is_changed_twice_at_once_is_the_last_one(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Filtered")
    stack.log(mission, "it broke", level="error")
    page = opened(mission)
    expect(entries(page)).to_have_count(2)
    page.get_by_label("Show", exact=True).select_option("errors")
    page.get_by_label("Show", exact=True).select_option("warnings and errors")
    expect(entries(page)).to_have_text(["it broke"])


@pytest.mark.parametrize("reason", [{"toString": 1, "valueOf": 1}, "approved by legal", ["x"]], ids=str)
def test_nobody_can_write_into_what_happened(opened: Callable[[str], Page], stack: Stack, reason: Any) -> None:
    mission = reach(stack, ["PENDING", "RUNNING"])
    data = {"from": "PENDING", "to": "RUNNING", "actor": "ceo", "reason": reason}
    stack("POST", f"/{mission}/log", {"message": "Mission status changed", "data": data})
    page = opened(mission)
    expect(entries(page)).to_have_count(3)
    expect(page.locator(".timeline li").last).to_contain_text("RUNNING")
    expect(page.locator(".timeline")).not_to_contain_text("ceo")
    expect(page.get_by_role("group", name="Actions").get_by_role("button")).to_have_count(3)


def test_what_a_mission_was_before_it_was_cancelled_is_told(opened: Callable[[str], Page], stack: Stack) -> None:
    page = opened(reach(stack, ["PENDING", "RUNNING", "COMPLETED", "CANCELLED"]))
    expect(page.locator(".timeline .badge")).to_have_text(["○ PENDING", "▶ RUNNING", "✓ COMPLETED", "⊘ CANCELLED"])


ACTIONS = [
    ("Start", ["PENDING"], "RUNNING", ""),
    ("Complete", ["PENDING", "RUNNING"], "COMPLETED", "all green"),
    ("Fail", ["PENDING", "RUNNING"], "FAILED", "<b>disk</b> full"),
    ("Cancel", ["PENDING"], "CANCELLED", "superseded"),
]


def reach(stack: Stack, statuses: list[str], **members: Any) -> str:
    """A mission that went through these statuses."""
    mission = stack.create("Act on me", **members)
    stack.move(mission, *statuses[1:])
    return mission


@pytest.mark.parametrize(("action", "statuses", "becomes", "reason"), ACTIONS)
def test_a_status_is_changed(
    opened: Callable[[str], Page], stack: Stack, action: str, statuses: list[str], becomes: str, reason: str
) -> None:
    page = opened(reach(stack, statuses))
    headers: list[dict[str, str]] = []
    page.on("request", lambda request: headers.extend([request.headers] * (request.method == "POST")))
    page.get_by_role("button", name=action, exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text(f"{action} this mission?")
    if reason:
        dialog.get_by_role("textbox").fill(reason)
    dialog.get_by_role("button", name=action).click()
    expect(dialog).to_have_count(0)
    expect(page.locator("p.status .badge")).to_contain_text(becomes)
    expect(page.locator("p.status")).to_contain_text(reason)
    (sent,) = headers
    assert (sent["if-match"], len(sent["idempotency-key"])) == (f'"{len(statuses)}"', 36)


def test_a_failure_needs_a_reason(opened: Callable[[str], Page], stack: Stack) -> None:
    page = opened(reach(stack, ["PENDING", "RUNNING"]))
    page.get_by_role("button", name="Fail").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("   ")
    page.get_by_role("dialog").get_by_role("button", name="Fail").click()
    assert page.get_by_role("dialog").get_by_role("textbox").evaluate("each => !each.validity.valid")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Fail")).to_be_focused()
    expect(page.locator("p.status")).to_have_text("▶ RUNNING")


def test_a_retry_leads_to_the_next_attempt(opened: Callable[[str], Page], stack: Stack) -> None:
    first = reach(stack, ["PENDING", "RUNNING", "FAILED"])
    page = opened(first)
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(page.get_by_role("link", name="← attempt 1")).to_have_attribute("href", f"#/missions/{first}")
    expect(page.locator("p.status")).to_have_text("○ PENDING")


def test_a_removal_is_told(opened: Callable[[str], Page], stack: Stack) -> None:
    page = opened(reach(stack, ["PENDING", "RUNNING", "COMPLETED"]))
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".notice")).to_contain_text("This mission was removed on ")
    expect(page.get_by_role("group", name="Actions").get_by_role("button")).to_have_count(0)


CONFLICTS = [
    ("Start", ["PENDING"], ["CANCELLED"], "it is at version 2 now. Look at it again, then decide."),
    ("Complete", ["PENDING", "RUNNING"], ["FAILED"], "Somebody changed this mission after you saw it"),
    ("Fail", ["PENDING", "RUNNING"], ["COMPLETED"], "Somebody changed this mission after you saw it"),
    ("Cancel", ["PENDING"], ["RUNNING"], "Somebody changed this mission after you saw it"),
    ("Retry", ["PENDING", "RUNNING", "FAILED"], ["retry"], "The mission has its next attempt already."),
    ("Delete", ["PENDING", "RUNNING", "COMPLETED"], ["delete", "create"], "The mission is PENDING now"),
    *((action, statuses, ["delete"], "The mission was removed meanwhile.")
      for action, statuses in (("Cancel", ["PENDING", "RUNNING", "FAILED"]),
                               ("Retry", ["PENDING", "RUNNING", "FAILED"]))),
]  # fmt: skip


def do(stack: Stack, mission: str, what: str) -> None:
    """What somebody else does."""
    match what:
        case "retry":
            stack("POST", f"/{mission}/retry")
        case "delete":
            stack("DELETE", f"/{mission}")
        case "create":
            stack.create("Anew", id=mission)
        case status:
            stack.move(mission, status)


@pytest.mark.parametrize(("action", "statuses", "meanwhile", "words"), CONFLICTS)
def test_a_conflict_is_told_in_words(
    opened: Callable[[str], Page], stack: Stack, action: str, statuses: list[str], meanwhile: list[str], words: str
) -> None:
    mission = reach(stack, statuses)
    page = opened(mission)
    page.get_by_role("button", name=action, exact=True).click()
    dialog = page.get_by_role("dialog")
    if action == "Fail":
        dialog.get_by_role("textbox").fill("too late")
    address = re.compile(f"/api/missions/{mission}$")
    page.route(address, lambda route: route.fulfill(status=304) if route.request.method == "GET" else route.continue_())
    for each in meanwhile:
        do(stack, mission, each)
    dialog.get_by_role("button", name=action).click()
    expect(dialog.get_by_role("alert")).to_contain_text(words)
    expect(dialog.get_by_role("button")).to_have_text(["Close"])
    page.unroute(address)
    if meanwhile == ["retry"]:
        dialog.get_by_role("link", name="Show it").click()
        expect(page.get_by_role("link", name="← attempt 1")).to_be_visible()
        return
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    if meanwhile == ["delete"]:
        expect(page.locator(".notice")).to_contain_text("This mission was removed on ")
    else:
        status = stack("GET", f"/{mission}")["status"]
        expect(page.locator("p.status .badge")).to_contain_text(status)  # what is so now is shown


def test_a_change_is_told_while_the_dialog_is_open(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = reach(stack, ["PENDING"])
    page = opened(mission)
    page.get_by_role("button", name="Start").click()
    stack.move(mission, "CANCELLED")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("The mission became CANCELLED meanwhile.")
    expect(dialog.get_by_role("button")).to_have_text(["Close"])
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=1)).to_be_focused()  # the button that opened it is gone


def test_who_left_is_not_led_to_the_next_attempt(opened: Callable[[str], Page], stack: Stack) -> None:
    page = opened(reach(stack, ["PENDING", "RUNNING", "FAILED"]))
    held: list[Any] = []
    page.route("**/retry", lambda route: held.append(route))
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    page.evaluate("location.hash = '#/overview'")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    held[0].continue_()
    page.wait_for_timeout(1000)
    expect(page).to_have_url(f"{stack.url}/#/overview")


def test_a_transition_that_is_refused_says_what_is_possible(opened: Callable[[str], Page], stack: Stack) -> None:
    """The API compares versions first, so this answer is only seen by who sends none."""
    page = opened(reach(stack, ["PENDING", "RUNNING"]))
    problem = {"code": "transition_refused", "status": 409, "detail": "", "current_status": "FAILED",
               "allowed": ["CANCELLED"], "reason": "heartbeat_timeout: it showed no sign of life"}  # fmt: skip
    page.route("**/status", lambda route: route.fulfill(status=409, json=problem))
    page.get_by_role("button", name="Complete").click()
    page.get_by_role("dialog").get_by_role("button", name="Complete").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(
        "Nothing was changed. The mission is FAILED now (heartbeat_timeout: it showed no sign of life), "
        "so it cannot be completed. From here it can become CANCELLED."
    )


def test_when_the_outcome_is_unknown_it_can_be_sent_again_and_is_done_once(
    opened: Callable[[str], Page], stack: Stack
) -> None:
    mission = reach(stack, ["PENDING"])
    page = opened(mission)
    keys: list[str] = []

    def lose_the_first_answer(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/status", lose_the_first_answer)
    page.get_by_role("button", name="Start").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_role("alert")).to_contain_text("It is not known whether the mission was started.")
    page.wait_for_timeout(2000)  # the page learns meanwhile that it is RUNNING
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("p.status")).to_have_text("▶ RUNNING")
    assert (len(keys), len(set(keys)), stack("GET", f"/{mission}")["version"]) == (2, 1, 2)


def test_a_mission_that_is_removed_while_it_is_looked_at_is_told(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = reach(stack, ["PENDING", "RUNNING", "FAILED"])
    page = opened(mission)
    stack("DELETE", f"/{mission}")
    expect(page.locator(".notice")).to_contain_text("What you see is what was last known of it.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Act on me")
    expect(page.get_by_role("group", name="Actions").get_by_role("button")).to_have_count(0)
    stack.create("Back again", id=mission)
    expect(page.get_by_role("heading", level=1)).to_have_text("Back again")
    expect(entries(page)).to_have_text(["Mission created"])
    expect(page.locator(".timeline li")).to_have_count(1)
    expect(page.locator(".notice")).to_be_empty()


def test_an_id_that_nobody_has_is_told(window: Callable[..., Page], stack: Stack) -> None:
    page = window(f"{stack.url}/#/missions/nobody")
    expect(page.locator(".notice")).to_have_text(re.compile("There is no mission with the id nobody."))
    stack.create("Now there is", id="nobody")
    expect(page.get_by_role("heading", level=1)).to_have_text("Now there is")


def test_polling_a_mission_costs_304s(opened: Callable[[str], Page], stack: Stack) -> None:
    mission = stack.create("Quiet")
    page = opened(mission)
    expect(entries(page)).to_have_count(1)
    page.wait_for_timeout(1000)  # the log is asked once more for what came meanwhile
    answers: list[tuple[str, int]] = []
    page.on("response", lambda answer: answers.append((answer.url, answer.status)))
    page.wait_for_timeout(4000)
    assert len(answers) >= 2
    assert set(answers) == {(f"{stack.url}/api/missions/{mission}", 304)}
