"""If-Match and If-None-Match: lists of entity tags (RFC 9110, sections 8.8.3 and 13.1)."""

import re
from collections.abc import Set

from missions.domain.errors import InvalidRequest
from missions.domain.models import Mission

# It may have commas in it. The pattern says what a tag must not have; to list what it may have takes 3 ms to compile.
_TAG = re.compile(r'(W/)?"([^\x00-\x20"\x7f]*)"')


def etag(mission: Mission) -> str:
    """The entity tag of a mission: its version, and when it last showed a sign of life, in microseconds."""
    return f'"{mission.version}-{round(mission.active_at * 1_000_000)}"'


def quoted(version: str) -> str:
    """The entity tag of a version that is a text."""
    return f'"{version}"'


def matching_versions(if_match: str | None) -> Set[int] | None:
    """The versions that If-Match names, compared strongly; None for any. Raises InvalidRequest when it is no list."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = _tags(if_match)
    if tags is None:
        raise InvalidRequest(422, "invalid_if_match", 'If-Match takes entity tags, such as "3" or "3", "4"; or *.')
    # Signs of life since the last change of the version do not matter: the part behind the hyphen is ignored.
    found = [re.fullmatch("([1-9][0-9]{0,14})(-[0-9]{1,16})?", tag) for weak, tag in tags if not weak]
    return {int(each[1]) for each in found if each}


def known(if_none_match: str, tag: str) -> bool:
    """Whether If-None-Match names this tag, compared weakly. What is no list names none."""
    return if_none_match.strip() == "*" or tag in map(quoted, named(if_none_match))


def named(if_none_match: str) -> list[str]:
    """The tags that If-None-Match names, without their quotes."""
    return [each for _, each in _tags(if_none_match) or []]


def _tags(text: str) -> list[tuple[str, str]] | None:
    """The tags of a list, each with its 'W/' or ''; None when it is no list. An element may be empty."""
    elements = {element.strip(" \t") for element in _TAG.sub("\n", text).split(",")}
    return _TAG.findall(text) if elements <= {"\n", ""} and "\n" not in text else None
