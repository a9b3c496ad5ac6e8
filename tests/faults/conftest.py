"""A system of its own for each fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import forget
from tests.faults.harness import Figures, System, start
from tests.strict_eventbridge import StrictEventBridge, strict_eventbridge

FIGURES: dict[str, Figures] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--operations", type=int, default=450, help="operations to run under each fault")


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
) -> Iterator[System]:
    server = start(tmp_path)
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}")
    forget()
    system = System(server, bus, tmp_path)
    yield system
    FIGURES[request.node.name] = system.figures
    forget()
    system.server.stop()
