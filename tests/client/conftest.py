"""The client against `make run`, and against a double of the API that fails as it is told to."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from missions_client import Client, Retry

from local.processes import unused_port
from local.stack import wait_until_ready
from tests.client.api import Double

ROOT = Path(__file__).parents[2]
FAST = Retry(first=0.01, longest=2.0)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a stack of `make run`, on free ports."""
    folder = tmp_path_factory.mktemp("stack")
    ports = {name: str(unused_port()) for name in ("PORT", "EVENTS_PORT", "REDIS_PORT")}
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers/missions")))}
    with (folder / "output").open("w") as output:
        command = [sys.executable, "-m", "local.run"]
        process = subprocess.Popen(command, cwd=folder, env=os.environ | paths | ports, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{ports['PORT']}"
            wait_until_ready(url)
            while "Missions is ready" not in (told := (folder / "output").read_text()):
                assert process.poll() is None, told
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in (folder / "output").read_text()


@pytest.fixture
def client(stack: str) -> Iterator[Client]:
    """A client of the stack."""
    with Client(stack) as made:
        yield made


@pytest.fixture
def tag() -> str:
    """A tag that no other test uses."""
    return f"test={uuid4().hex[:8]}"


@pytest.fixture
def double() -> Iterator[Double]:
    """A double of the API."""
    with Double() as made:
        yield made


@pytest.fixture
def impatient(double: Double) -> Iterator[Client]:
    """A client of the double that hardly waits."""
    with Client(double.url, retry=FAST, timeout=1.0) as made:
        yield made
