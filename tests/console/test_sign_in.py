"""Signing in: the code flow with PKCE, against the issuer of `make run AUTH=jwt`."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.console.conftest import Stack, running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that wants tokens, each with a namespace."""
    with running(tmp_path_factory.mktemp("guarded"), AUTH="jwt", NAMESPACE_CLAIM="tenant") as stack:
        token = requests.get(f"{stack.url}/_local/token?namespace=team-a", timeout=10).json()["access_token"]
        stack._session.headers["authorization"] = f"Bearer {token}"
        yield stack


def sign_in(page: Page, name: str = "Sign in") -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_label("Namespace").fill("team-a")
    page.get_by_role("button", name="Sign in").click()


def test_who_signs_in_comes_back_to_the_same_page_and_sees_its_namespace(
    window: Callable[..., Page], guarded: Stack
) -> None:
    mission = guarded.create("For the team alone")
    page = window(f"{guarded.url}/#/missions/{mission}")
    expect(page.locator("#banner")).to_contain_text("Sign in to see missions.")
    sign_in(page)
    expect(page).to_have_url(f"{guarded.url}/#/missions/{mission}")
    expect(page.get_by_role("heading", level=1)).to_have_text("For the team alone")
    expect(page.locator("#banner")).to_be_empty()
    expect(page.get_by_role("link", name="Operators")).to_be_hidden()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#banner")).to_contain_text("Sign in to see missions.")


def test_a_token_that_expires_is_told_and_signing_in_again_goes_on(window: Callable[..., Page], guarded: Stack) -> None:
    mission = guarded.create("Still here")
    page = window(f"{guarded.url}/#/missions/{mission}")
    sign_in(page)
    expect(page.locator(".entry")).to_have_count(1)
    expired = requests.get(f"{guarded.url}/_local/token?namespace=team-a&expires_in=-1", timeout=10).json()
    forget = """token => {
        const kept = JSON.parse(sessionStorage.getItem('missions.token'));
        sessionStorage.setItem('missions.token', JSON.stringify({...kept, token}));
    }"""
    page.evaluate(forget, expired["access_token"])
    expect(page.locator("#banner")).to_contain_text("Your sign-in has ended. What you see is of ")
    expect(page.get_by_role("heading", level=1)).to_have_text("Still here")  # what was seen stays
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_contain_text("You are not signed in any more, so nothing was changed.")
    page.get_by_role("button", name="Leave it").click()
    guarded.log(mission, "meanwhile")
    sign_in(page, "Sign in again")
    expect(page).to_have_url(f"{guarded.url}/#/missions/{mission}")
    expect(page.locator(".entry")).to_have_count(2)
    expect(page.locator("#banner")).to_be_empty()


def test_a_sign_in_that_was_not_begun_here_is_not_finished(window: Callable[..., Page], guarded: Stack) -> None:
    page = window(f"{guarded.url}/?code=stolen&state=forged#/")
    expect(page.locator("#banner")).to_contain_text("This sign-in was not begun here. Sign in again.")
    expect(page).to_have_url(f"{guarded.url}/")


def test_a_refusal_of_the_issuer_is_told_as_text(window: Callable[..., Page], guarded: Stack) -> None:
    page = window(f"{guarded.url}/")
    page.route("**/_local/authorize?**", lambda route: route.fulfill(status=303, headers={
        "location": f"{guarded.url}/?error=access_denied&error_description=%3Cb%3Eno%3C/b%3E&state="
        + parse_qs(urlsplit(route.request.url).query)["state"][0]}))  # fmt: skip
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("#banner")).to_contain_text("The issuer refused: <b>no</b>")


def test_an_issuer_that_is_away_is_told(window: Callable[..., Page], guarded: Stack) -> None:
    page = window(f"{guarded.url}/")
    page.route("**/.well-known/**", lambda route: route.abort())
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("#banner")).to_contain_text("The issuer does not answer. Try again.")
    page.unroute("**/.well-known/**")
    sign_in(page)
    expect(page.locator(".column")).to_have_count(5)


def test_under_another_name_the_page_leads_to_the_name_of_the_issuer(guarded: Stack) -> None:
    answer = requests.get(guarded.url.replace("127.0.0.1", "localhost") + "/", allow_redirects=False, timeout=10)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{guarded.url}/")


def test_a_code_counts_once_for_its_page_and_with_its_verifier(guarded: Stack) -> None:
    begun = {"redirect_uri": f"{guarded.url}/", "state": "s", "namespace": "team-a",
             "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}  # fmt: skip
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B

    def code() -> str:
        answer = requests.post(f"{guarded.url}/_local/authorize", begun, allow_redirects=False, timeout=10)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def redeem(code: str, **changes: str) -> int:
        asked = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"{guarded.url}/"}
        asked |= {"client_id": "console", "code_verifier": verifier} | changes
        return requests.post(f"{guarded.url}/_local/token", asked, timeout=10).status_code

    first = code()
    assert [redeem(first), redeem(first)] == [200, 400]
    assert redeem(code(), code_verifier="another") == 400
    assert redeem(code(), redirect_uri=f"{guarded.url}/other") == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "{url}.evil.example/"},
        {"redirect_uri": "{url}/\r\nset-cookie: a=b"},
        {"redirect_uri": "{url}/\u202e"},
        {"redirect_uri": "{url}/?x=1"},
        {"redirect_uri": "{url}/#f"},
        {"redirect_uri": 5},
        {"state": "\ud800"},
    ],
    ids=repr,
)
def test_a_sign_in_that_leads_elsewhere_is_refused(guarded: Stack, changes: dict[str, Any]) -> None:
    begun = {"redirect_uri": f"{guarded.url}/", "state": "s", "code_challenge": "c"} | changes
    if isinstance(begun["redirect_uri"], str):
        begun["redirect_uri"] = begun["redirect_uri"].replace("{url}", guarded.url)
    url = f"{guarded.url}/_local/authorize"
    assert requests.post(url, json=begun, allow_redirects=False, timeout=10).status_code == 400
