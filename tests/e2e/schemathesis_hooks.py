"""What the OpenAPI document cannot say: which valid values are refused for what happened before."""

import re
from typing import Any
from uuid import uuid4

import schemathesis
from missions.domain.fields import RESERVED_IDS


@schemathesis.hook
def filter_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> bool:
    """A reserved id is no mission's: its path is another operation's, or none."""
    return (path_parameters or {}).get("mission_id") not in RESERVED_IDS


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A body that is not UTF-8 is refused with 400 (test_bad_input.py), but sam local itself fails at it with 502."""
    if isinstance(case.body, bytes):
        try:
            case.body.decode()
        except UnicodeDecodeError:
            return False
    return True


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A key is used once, a version is one that a mission had, and a cursor one that a page gave."""
    headers, query = case.headers or {}, case.query or {}
    if re.fullmatch(r"[ -~]{1,255}", str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = str(uuid4())
    if "If-Match" in headers:
        headers["If-Match"] = '"1"'
    if 1 <= len(str(query.get("cursor", ""))) <= 256:
        del query["cursor"]
