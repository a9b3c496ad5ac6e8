"""The end-to-end tests run against any stack: --base-url names one; `local` is the one that runs in this folder.

Without it they start the local stack on free ports. Its events are read from a queue of the test's own, made with
boto3 at the local EventBridge, or at AWS_ENDPOINT_URL.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from local.processes import unused_port
from local.stack import aws, forget, listen, ports, wait_until_ready

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--base-url", help="the stack to test, or local for the one in this folder; without it one is started"
    )


class Client:
    """HTTP to the API under test."""

    def __init__(self, url: str, endpoint: str) -> None:
        self.url = url
        self.endpoint = endpoint
        self._session = requests.Session()

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self._session.request(method, self.url + path, json=body, timeout=40, **options)


class Tap:
    """The events of the bus, from now on."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._events: dict[str, dict[str, Any]] = {}

    def of_mission(self, mission_id: str, expected: int) -> list[dict[str, Any]]:
        """The events of one mission as EventBridge delivered them, by sequence, once there are as many as expected."""
        deadline = time.monotonic() + 30
        while True:
            found = [e for e in self._events.values() if e["detail"]["payload"]["mission_id"] == mission_id]
            if len(found) >= expected or time.monotonic() > deadline:
                return sorted(found, key=lambda event: event["detail"]["meta"]["sequence"])
            answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                event = json.loads(message["Body"])
                self._events[event["detail"]["id"]] = event
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    url = request.config.getoption("--base-url")
    if url:
        running = ports()
        endpoint = os.environ.get("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running['EVENTS_PORT']}")
        yield Client(f"http://127.0.0.1:{running['PORT']}" if url == "local" else url.rstrip("/"), endpoint)
        return
    chosen = {name: str(unused_port()) for name in ("PORT", "EVENTS_PORT", "REDIS_PORT")}
    output = tmp_path_factory.mktemp("stack") / "output"
    environment = os.environ | chosen | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/missions'}"}
    with output.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.run"], cwd=output.parent, env=environment, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{chosen['PORT']}"
            wait_until_ready(url)
            yield Client(url, f"http://127.0.0.1:{chosen['EVENTS_PORT']}")
        finally:
            process.terminate()
            assert process.wait(20) == 0, output.read_text()
    assert "Traceback" not in output.read_text()


@pytest.fixture(scope="session")
def tap(api: Client) -> Iterator[Tap]:
    queue = f"missions-test-{uuid4().hex[:8]}"
    url = listen(api.endpoint, queue)
    yield Tap(aws("sqs", api.endpoint), url)
    forget(api.endpoint, queue, url)
