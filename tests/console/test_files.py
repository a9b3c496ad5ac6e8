"""GET /console: the files, and what they may do."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from functions.get_console import app
from local import console
from tests.console.conftest import Stack

FOLDER = app.FOLDER
OWN = [path for path in sorted(FOLDER.rglob("*")) if path.is_file() and "vendor" not in path.parts]


def get(path: str, **headers: str) -> dict[str, Any]:
    """What API Gateway would be answered for this path."""
    event: dict[str, Any] = {"rawPath": path, "headers": headers}
    if path != "/console":
        event["pathParameters"] = {"proxy": path.removeprefix("/console/")}
    return app.handler(event, None)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"issuer": "https://issuer.example/pool", "client_id": "abc", "scope": "openid", "audience": "missions"}
    monkeypatch.setenv("CONSOLE", json.dumps(config | {"token_origin": "https://login.example"}))


def test_the_page_and_its_files_are_served_with_their_types() -> None:
    page = get("/console")
    assert (page["statusCode"], page["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
    linked = re.findall(r'(?:href|src)="(console/[^"]+)"', page["body"])
    assert len(linked) >= 7
    for name in linked:
        answer = get(urljoin("/console", name))
        assert (answer["statusCode"], answer["body"]) == (200, (FOLDER / name.removeprefix("console/")).read_text())


@pytest.mark.parametrize("path", ["../app.py", "app.py", "%2e%2e/app.py", "vendor", "vendor/", "/etc/passwd", "x\n"])
def test_nothing_else_is_served(path: str) -> None:
    assert get(f"/console/{path}")["statusCode"] == 404


def test_a_slash_at_the_end_leads_to_the_page() -> None:
    assert (get("/console/")["statusCode"], get("/console/")["headers"]["Location"]) == (308, "../console")


def test_a_file_that_a_browser_has_costs_a_304() -> None:
    etag = get("/console/main.js")["headers"]["ETag"]
    again = get("/console/main.js", **{"if-none-match": f'"other", W/{etag}'})
    assert (again["statusCode"], again["body"]) == (304, "")
    assert get("/console/main.js", **{"if-none-match": '"other"'})["statusCode"] == 200


def test_the_page_may_run_its_own_scripts_and_nothing_else() -> None:
    headers = get("/console")["headers"]
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("setting", ["{}", '{"issuer": "https://issuer.example", "client_id": "", "token_origin": ""}'])
def test_without_an_issuer_and_a_client_nobody_signs_in(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE", setting)
    assert (get("/console/config.json")["body"], get("/console/config.json")["headers"]["Cache-Control"]) == (
        "{}",
        "no-store",
    )


@pytest.mark.usefixtures("issuer")
def test_with_an_issuer_the_page_may_ask_it_and_where_its_tokens_come_from() -> None:
    assert get("/console/config.json")["body"] == (
        '{"issuer": "https://issuer.example/pool", "client_id": "abc", "scope": "openid", "audience": "missions"}'
    )
    policy = get("/console")["headers"]["Content-Security-Policy"]
    assert "connect-src 'self' https://issuer.example https://login.example;" in policy


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_no_file_has_what_the_policy_forbids_or_reads_html(path: Path) -> None:
    text = path.read_text()
    for forbidden in (r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", r"\sstyle=",
                      r"\son[a-z]+=\"", r"<script>", r"https?://(?!www\.w3\.org/2000/svg)"):  # fmt: skip
        assert not re.search(forbidden, text), forbidden


def test_each_module_is_named_by_the_page_or_read_later() -> None:
    """What the board needs is read at once, not one module after the other."""
    page = (FOLDER / "index.html").read_text()
    for name in ("main", "board"):
        for needed in re.findall(r'^import .* from "\./(.+)";', (FOLDER / f"{name}.js").read_text(), re.MULTILINE):
            assert f'<link rel="modulepreload" href="console/{needed}">' in page


def test_the_local_server_gives_the_same_answers(stack: Stack) -> None:
    for path in ("/", "/console", "/console/", "/console/main.js", "/console/vendor/uPlot.esm.js", "/console/nothing"):
        answer = requests.get(stack.url + path, allow_redirects=False, timeout=10)
        meant = get("/console" if path == "/" else path)
        assert (answer.status_code, answer.text) == (meant["statusCode"], meant["body"])
        assert {name: answer.headers[name] for name in meant["headers"]} == meant["headers"]
    assert requests.get(f"{stack.url}/console/config.json", timeout=10).json() == {"operate": True}


def test_only_its_own_paths_are_answered_by_the_console() -> None:
    assert [console.page(path, "", {}) for path in ("/consoles", "/docs", "/api/missions")] == [None] * 3
