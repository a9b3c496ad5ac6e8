"""The page for operators: what waits, what is dead, and sending it again."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from missions.domain import events
from missions.storage import keys
from missions.storage.keys import partition_of
from playwright.sync_api import Page, expect

from tests.console.conftest import Stack

URL = "/console/operate"
DEAD = keys.dead(partition_of("default"))
OWN = {"x-missions-console": "1"}


def bury(stack: Stack, mission: str, message: str = "<b>lost</b>", error: str = "<i>MalformedDetail</i>") -> None:
    draft = events.draft("mission.log_appended", {"log_level": "info", "message": message})
    facts = f"namespace=default mission={mission} moment=1703001234500000 sequence=1"
    stack.redis.xadd(DEAD, {"facts": facts, "drafts": json.dumps([draft]), "error": error})


@pytest.fixture(autouse=True)
def _nothing_is_dead(stack: Stack) -> None:
    stack.redis.delete(DEAD)


def figure(page: Page, name: str) -> Any:
    return page.locator(".figures div", has_text=name).locator("dd")


def test_without_dead_letters_nothing_is_offered(window: Callable[..., Page], stack: Stack) -> None:
    page = window(f"{stack.url}/")
    page.get_by_role("link", name="Operators").click()
    expect(figure(page, "Dead letters")).to_have_text("0")
    expect(figure(page, "Writes whose events wait")).not_to_be_empty()
    expect(page.locator("main")).to_contain_text("None.")
    expect(page.get_by_role("button", name="Redeliver")).to_have_count(0)


def test_dead_letters_are_shown_with_their_error_and_sent_again(window: Callable[..., Page], stack: Stack) -> None:
    mission = stack.create("Whose event was refused")
    bury(stack, mission)
    bury(stack, mission, "another")
    page = window(f"{stack.url}/#/operators")
    letters = page.locator(".letters > li")
    expect(letters).to_have_count(2)
    expect(letters.first).to_contain_text("<i>MalformedDetail</i>")
    expect(letters.first.get_by_role("link")).to_have_attribute("href", f"#/missions/{mission}")
    letters.first.get_by_text("[ 1 element ]").click()
    letters.first.get_by_role("button", name="Redeliver").click()
    expect(page.locator("main")).to_contain_text("Events published: 1 (")
    expect(letters).to_have_count(1)
    assert stack.redis.xlen(DEAD) == 1
    page.get_by_role("button", name="Redeliver all").click()
    expect(letters).to_have_count(0)
    expect(figure(page, "Dead letters")).to_have_text("0")
    assert stack.redis.xlen(DEAD) == 0


def test_many_dead_letters_are_read_page_by_page(window: Callable[..., Page], stack: Stack) -> None:
    for number in range(60):
        bury(stack, "m", f"number {number}")
    page = window(f"{stack.url}/#/operators")
    expect(page.locator(".letters > li")).to_have_count(50)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".letters > li")).to_have_count(60)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    page.get_by_role("button", name="Redeliver all").click()
    expect(page.locator("main")).to_contain_text("Events published: 60 (all were tried).")
    assert stack.redis.xlen(DEAD) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        OWN | {"origin": "http://evil.example"},
        OWN | {"sec-fetch-site": "cross-site"},
        OWN | {"host": "evil.example"},
    ],
    ids=["no header of the console", "another origin", "another site", "another host"],
)
def test_no_other_page_can_operate(stack: Stack, headers: dict[str, str]) -> None:
    bury(stack, "m")
    answer = requests.post(stack.url + URL, json={"action": "redeliver"}, headers=headers, timeout=10)
    assert (answer.status_code, stack.redis.xlen(DEAD)) == (403, 1)


@pytest.mark.parametrize(
    ("body", "status"), [("{", 400), ("[" * 100_000, 400), ('{"action": "explode"}', 200), ("null", 200)]
)
def test_what_makes_no_sense_changes_nothing(stack: Stack, body: str, status: int) -> None:
    answer = requests.post(stack.url + URL, body, headers=OWN, timeout=10)
    assert answer.status_code == status
    assert status == 400 or "error" in answer.json()
