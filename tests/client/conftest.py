"""The client against `make run`, and against a double of the API that fails as it is told to."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from missions_client import Client, Retry

from tests.client.api import Double
from tests.stack import running

FAST = Retry(first=0.01, longest=2.0)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a stack of `make run`, on free ports."""
    with running(tmp_path_factory.mktemp("stack")) as (url, _):
        yield url


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
