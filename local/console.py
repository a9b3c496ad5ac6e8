"""The console of `make run`: the files of the function get_console, and the operator function behind one route.

The files are answered in this process. A sandbox would take a second at the first request.
"""

import re
from collections.abc import Mapping
from typing import Any

from functions.get_console import app

PATHS = re.compile(r"/|/console(?P<below>/(?P<name>.*))?")
OPERATE = ("POST", "/console/operate")
PROOF = "x-missions-console"  # a header that no page of another origin can send: the answer to its preflight lacks it


def page(path: str, if_none_match: str, config: dict[str, Any]) -> dict[str, Any] | None:
    """What a function of AWS would answer; None for a path that is not of the console."""
    found = PATHS.fullmatch(path)
    if not found:
        return None
    if not found["below"]:
        app.files.cache_clear()  # who works on the console sees what was changed
    return app.answer(found["name"] if found["below"] else "index.html", if_none_match, config)


def may_operate(headers: Mapping[str, str]) -> bool:
    """Whether this request comes from the console, or from a program, and not from a page of another origin."""
    own = headers.get("origin", f"http://{headers['host']}").lower() == f"http://{headers['host']}".lower()
    return own and PROOF in headers and headers.get("sec-fetch-site", "same-origin") == "same-origin"
