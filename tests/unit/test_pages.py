"""The pages name every route, error code and member that there is, and their links lead somewhere."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from missions.domain import errors
from missions.domain.models import Claim, Heartbeat, Mission, MissionCreate, MissionFilter, MissionQuery
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
README, API = ROOT / "README.md", ROOT / "docs/api.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
OF_THE_SPECIFICATION = {"id", "name", "description", "data"}  # they are told in the text, or as a limit


def routes() -> set[str]:
    """Those of the sample invocations; each function has one."""
    samples = [json.loads(each.read_text()) for each in (ROOT / "events").glob("*.json")]
    return {each["routeKey"] for each in samples if "routeKey" in each}


def codes(kind: type[errors.MissionsError] = errors.MissionsError) -> Iterator[str]:
    """The codes of all refusals but the root and those that are given one when they are raised."""
    for each in kind.__subclasses__():
        if "code" in vars(each):
            yield each.code
        yield from codes(each)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in a link, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [README, API], ids=lambda page: page.name)
def test_every_route_is_in_the_table(page: Path) -> None:
    assert len(routes()) > 10
    assert routes() <= set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", page.read_text(), re.MULTILINE))


def test_every_error_code_is_in_the_table() -> None:
    assert set(codes()) <= set(re.findall(r"^\| \d{3} \| `(\w+)` \|", API.read_text(), re.MULTILINE))


@pytest.mark.parametrize("model", [MissionCreate, Mission, Claim, Heartbeat, MissionFilter, MissionQuery])
def test_every_member_is_told(model: type[BaseModel]) -> None:
    told = set(re.findall(r"`(\w+)`", API.read_text()))
    assert set(model.model_fields) - OF_THE_SPECIFICATION <= told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target
