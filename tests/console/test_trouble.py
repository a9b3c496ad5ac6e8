"""What others write is shown as text; what is away is told, and comes back by itself."""

import json
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from local.stack import wait_until_ready
from tests.console.conftest import Stack

HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "\"'><svg/onload=document.title='owned'>",
    "javascript:document.title='owned'//",
    "${document.title='owned'} {{7*7}} %s &lt;b&gt;",
    "evil \u202e gnp.exe \u2066 \u200f",
    "𝕹𝖆𝖒𝖊 with 👩‍👩‍👧‍👧 and Z̸̡̛͎a̷l̴g̵o̶",
    "W" * 200,
]


def untouched(page: Page) -> bool:
    """Whether nothing of what was shown was taken for HTML."""
    found: bool = page.evaluate(
        "() => document.title !== 'owned' && !document.querySelector('main :is(img, script, svg, iframe, b)')"
    )
    return found


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_as_text_everywhere(
    window: Callable[..., Page], stack: Stack, tag: str, text: str
) -> None:
    data = {text: [text, {text: text}], "__proto__": {"x": 1}, "constructor": text}
    mission = stack.create(text, description=text, data=data, tags=[tag])
    stack("POST", "/claim", {"tags": [tag], "worker": text})
    stack("POST", f"/{mission}/heartbeat", {"note": text})
    stack("POST", f"/{mission}/log", {"message": text, "level": "error", "data": data})
    page = window(f"{stack.url}/#/?tag={tag}")
    expect(page.locator(".card h3")).to_have_text(text)
    assert untouched(page)
    stack.move(mission, "FAILED", reason=text)
    expect(page.locator(".card .reason")).to_have_text(text)
    page.locator(".failed .card h3 a").click()  # the column that it left may not be read again yet
    expect(page.get_by_role("heading", level=1)).to_have_text(text)
    expect(page.locator(".entry .message", has_text=text)).not_to_have_count(0)
    for _ in range(3):  # what is inside is made when it is opened
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        page.wait_for_timeout(50)
    expect(page.locator("main")).to_contain_text(json.dumps(text, ensure_ascii=False))
    page.get_by_label("Search these entries").fill(text)
    expect(page.locator(".entry:visible")).not_to_have_count(0)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_contain_text(text)
    assert untouched(page)


def test_a_script_that_got_into_the_page_would_not_run(browser: Browser, stack: Stack) -> None:
    page = browser.new_page()  # not one of `window`: what is kept away is logged as an error
    page.goto(f"{stack.url}/")
    tried = page.evaluate("""() => {
        const found = [];
        const script = document.createElement('script');
        script.append("document.title = 'owned'");
        try { document.head.append(script); } catch { found.push('trusted types'); }
        try { script.text = "document.title = 'owned'"; } catch { found.push('trusted types'); }
        try { document.body.innerHTML = '<b>'; } catch { found.push('trusted types'); }
        return [found, document.title];
    }""")
    assert tried[0].count("trusted types") >= 2
    assert tried[1] != "owned"
    page.close()


def test_an_api_that_is_away_is_told_and_comes_back_by_itself(board: Page, stack: Stack, tag: str) -> None:
    stack.create("Before", tags=[tag])
    expect(board.locator(".card")).to_contain_text("Before")
    board.context.set_offline(True)
    banner = board.locator("#banner")
    expect(banner).to_contain_text("The API does not answer. What you see is of ")
    expect(board.locator(".card")).to_contain_text("Before")  # what was seen stays
    stack.create("Meanwhile", tags=[tag])
    board.context.set_offline(False)
    expect(board.locator(".card")).to_have_count(2)
    expect(banner).to_be_empty()


def test_a_front_that_was_killed_comes_back_for_the_page_too(board: Page, stack: Stack, tag: str) -> None:
    port = int(stack.url.rpartition(":")[2])
    listening = (each for each in psutil.net_connections("tcp") if each.status == "LISTEN")
    (pid,) = {each.pid for each in listening if each.laddr and each.laddr[1] == port}
    front = psutil.Process(pid)
    front.kill()
    front.wait(5)
    wait_until_ready(stack.url)
    stack.create("After", tags=[tag])
    expect(board.locator(".card")).to_contain_text("After", timeout=20_000)
    expect(board.locator("#banner")).to_be_empty()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": 503, "json": {"code": "store_unavailable", "detail": "The store did not answer."}},
         "The store did not answer."),
        ({"status": 429, "json": {"message": "Too Many Requests"}}, "The API takes no more requests at the moment."),
        ({"status": 500, "json": {"message": "Internal Server Error"}}, "The API answered 500: Internal Server Error."),
        ({"status": 403, "json": {"message": "Forbidden"}}, "This API takes signed requests only"),
        ({"status": 200, "body": "<h1>A captive portal</h1>"}, "What answers is not the API."),
        ({"status": 404, "body": "<h1>Not Found</h1>"}, "What answers is not the API."),
        ({"status": 200, "body": ""}, "What answers is not the API."),
        ({"status": 200, "body": "null"}, "What answers is not the API."),
        ({"status": 502, "body": "null"}, "The API answered 502."),
        ({"status": 200, "body": "{}"}, "What was answered is not as it should be."),
        ({"status": 403, "json": {"code": "forbidden", "detail": "The token names no tenant"}}, "names no tenant"),
    ],
    ids=["503", "429", "500", "403", "another page", "404", "nothing", "null", "502", "no answer", "no namespace"],
)  # fmt: skip
def test_each_kind_of_outage_is_told_in_words(
    board: Page, stack: Stack, tag: str, answer: dict[str, Any], words: str
) -> None:
    board.route("**/api/missions**", lambda route: route.fulfill(**answer))
    expect(board.locator("#banner")).to_contain_text(words)
    board.unroute("**/api/missions**")
    expect(board.locator("#banner")).to_be_empty()
    stack.create("After", tags=[tag])
    expect(board.locator(".card")).to_contain_text("After")


def test_a_page_that_is_opened_while_the_server_is_away_waits_for_it(window: Callable[..., Page], stack: Stack) -> None:
    page = window()
    page.route("**/console/config.json", lambda route: route.abort())
    page.goto(f"{stack.url}/")
    expect(page.locator("#banner")).to_contain_text("The server of this page does not answer.")
    page.unroute("**/console/config.json")
    expect(page.locator(".column")).to_have_count(5)
    expect(page.locator("#banner")).to_be_empty()


def test_an_outage_on_the_page_of_a_mission_loses_no_entry_of_its_log(
    window: Callable[..., Page], stack: Stack
) -> None:
    mission = stack.create("Followed")
    page = window(f"{stack.url}/#/missions/{mission}")
    expect(page.locator(".entry")).to_have_count(1)
    page.context.set_offline(True)
    expect(page.locator("#banner")).to_contain_text("The API does not answer.")
    stack.log(mission, *(f"line {number}" for number in range(250)))
    page.context.set_offline(False)
    expect(page.locator(".entry")).to_have_count(251)
    lines = page.locator(".entry .message").all_inner_texts()
    assert lines == ["Mission created", *(f"line {number}" for number in range(250))]
