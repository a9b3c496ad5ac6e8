"""A system of its own for each fault."""

import threading
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any, cast

import pytest
from missions.storage.link import Link
from missions.storage.nodes import Address, Nodes

from local.doubles.eventbridge import StrictEventBridge, strict_eventbridge
from tests.conftest import fresh_sandbox
from tests.faults.harness import OneServer, start

FAULTS = "fault,operations,acknowledged,answered 503,for (s),slowest (s),lost,events,duplicates,sequences given twice"
STALLED = "stalled,slowest answer (s)"
Row = tuple[str | int | float, ...]
TABLES: dict[str, list[Row]] = {FAULTS: [], STALLED: []}  # rows by their heads


def row(request: pytest.FixtureRequest, table: str, *cells: str | int | float) -> None:
    """Put this into a table. A test may run in another process than the one that prints them."""
    request.node.user_properties.append((table, cells))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        for table, cells in report.user_properties:
            TABLES[table].append(cast(Row, cells))


def _fault(test: str) -> str:
    """What the table calls a test: its parameter, or its name in words."""
    return test.partition("[")[2].removesuffix("]") or test.removeprefix("test_").replace("_", " ")


@pytest.fixture
def a_connection_for_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads stand for sandboxes here, and would wait for each other's commands on the one connection of a sandbox."""
    own = threading.local()

    def links(nodes: Nodes) -> dict[Address, Link]:
        of_thread: dict[Any, dict[Address, Link]] = own.__dict__
        return of_thread.setdefault(nodes, {})

    monkeypatch.setattr(Nodes, "_links", property(links, lambda *_: None), raising=False)


@pytest.fixture
def operations(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--operations"))


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictEventBridge]:
    with strict_eventbridge() as bus:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url)
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("EVENT_BUS_NAME", "missions")
        yield bus


@pytest.fixture
def system(
    bus: StrictEventBridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[OneServer]:
    server = start(tmp_path)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}")
    fresh_sandbox()
    system = OneServer(bus, server=server, data=tmp_path)
    yield system
    if system.figures.operations:
        row(request, FAULTS, _fault(request.node.name), *astuple(system.figures))
    fresh_sandbox()
    system.server.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that docs/guarantees.md shows."""
    for heads, rows in TABLES.items():
        if rows:
            table = [
                heads.split(","),
                ["---"] * len(heads.split(",")),
                *map(_cells, sorted(rows, key=lambda row: str(row[0]))),
            ]
            terminalreporter.write_line("\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in table))


def _cells(row: Row) -> list[str]:
    forms = {float: "{:.2f}", int: "{:,}", str: "{}"}
    return [forms[type(each)].format(each) for each in row]
