"""What `make run` tells of the functions that run by themselves."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from missions.publishing.relay import Report as Relayed
from missions.sweeper import Report as Swept

from local import front, run


def told(function: str, report: Any) -> list[str]:
    """The lines that are printed of one run of a function."""
    lines: list[str] = []
    line = json.dumps({"kind": "scheduled", "function": function, "answer": vars(report)}).encode()
    printing: Any = SimpleNamespace(
        lines=SimpleNamespace(say=lambda text, **_: lines.append(text)),
        later=lambda what, *args, **facts: what(*args, **facts),
    )
    part: Any = SimpleNamespace(process=SimpleNamespace(stdout=[line]))
    run.follow(part, printing)
    return lines


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (Swept(), []),
        (Swept(failed=2, cancelled=1), ["[cyan]swept:[/] 2 failed, 1 cancelled"]),
        (Swept(removed=1200, left=3, oldest=70_000), ["[cyan]swept:[/] 1,200 removed, 3 left"]),
    ],
    ids=str,
)
def test_what_the_sweeper_did_is_told_and_nothing_when_it_did_nothing(report: Swept, lines: list[str]) -> None:
    assert told("sweep_missions", report) == lines


def test_what_the_relay_published_is_told_and_not_what_it_left() -> None:
    assert told("relay_events", Relayed(left=3)) == []
    (line,) = told("relay_events", Relayed(published=1200, left=3))
    assert line.startswith("[cyan]relay[/] published 1,200 events")


def test_the_relay_and_the_sweeper_run_each_minute() -> None:
    assert sorted(front.schedules()) == [("relay_events", 60), ("sweep_missions", 60)]
