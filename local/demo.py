"""make demo: one mission through its whole life, against the running stack; with MISSIONS=200, a day of that many."""

import json
import os
import sys
import time
from typing import Any
from uuid import uuid4

import requests
from botocore.exceptions import EndpointConnectionError

from local import day
from local.lines import console, safe
from local.stack import CannotStart, aws, forget, listen, ports

PATIENCE = 10  # seconds to wait for the events of one step
RATE = 20  # requests a second of a day


class Demo:
    """One mission of a running stack, and the events that its steps cause."""

    def __init__(self, url: str, endpoint: str) -> None:
        self._url, self._endpoint = url, endpoint
        self._missing = 0

    def play(self) -> int:
        """Drive the mission; gives how many events did not arrive."""
        self._queue = f"missions-demo-{uuid4().hex[:8]}"
        self._sqs, self._queue_url = aws("sqs", self._endpoint), listen(self._endpoint, self._queue)
        try:
            mission = self._step(
                "POST", "", {"name": "Deploy Application v2.0", "data": {"commit": "4f2a9c1"}}, events=2
            )
            path = f"/{mission['id']}"
            self._step("POST", f"{path}/status", {"status": "RUNNING"}, events=2)
            for number in (1, 2):
                entry = {"level": "info", "message": f"Deployment step {number}/2 completed"}
                self._step("POST", f"{path}/log", entry, events=1)
            self._step("POST", f"{path}/status", {"status": "COMPLETED"}, events=2)
            for each in (path, f"{path}/log", "/stats/overview"):
                self._step("GET", each)
        finally:
            forget(self._endpoint, self._queue, self._queue_url)
        return self._missing

    def _step(self, method: str, path: str, body: Any = None, events: int = 0) -> dict[str, Any]:
        """Send one request; show what was sent, what came back, and the events."""
        path = f"/api/missions{path}"
        console.print(f"[bold]{method} {path}[/]")
        if body:
            console.print(f"  sent      {json.dumps(body)}", markup=False)
        response = requests.request(method, self._url + path, json=body, timeout=30)
        answer: dict[str, Any] = response.json()
        console.print(f"  came back [green]{response.status_code}[/]", end=" ")
        console.print(json.dumps(answer), markup=False)
        response.raise_for_status()
        arrived = self._arrived(events)
        self._missing += events - len(arrived)
        for event in arrived:
            console.print(f"  [cyan]event[/]     #{safe(event['meta']['sequence'])} {safe(event['type'])}", end=" ")
            console.print(json.dumps(event["payload"]), markup=False)
        return answer

    def _arrived(self, expected: int) -> list[dict[str, Any]]:
        """The events that arrive, until there are as many as expected or patience ends."""
        events: list[dict[str, Any]] = []
        deadline = time.monotonic() + PATIENCE
        while len(events) < expected and time.monotonic() < deadline:
            asked = {"QueueUrl": self._queue_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
            for message in self._sqs.receive_message(**asked).get("Messages", []):
                events.append(json.loads(message["Body"])["detail"])
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(events, key=lambda event: event["meta"]["sequence"])


def chosen() -> tuple[int, float]:
    """How many missions, and how many requests a second. Raises CannotStart."""
    missions, rate = os.environ.get("MISSIONS") or "1", os.environ.get("RATE") or str(RATE)
    if not (missions.isdecimal() and rate.isdecimal() and int(missions) and int(rate)):
        raise CannotStart(
            "MISSIONS and RATE (requests a second) are whole numbers from 1: make demo MISSIONS=200 RATE=20"
        )
    return int(missions), float(rate)


def main() -> int:
    """Drive one mission or many; 0 when every request was taken and every event arrived."""
    try:
        missions, rate = chosen()
        at = ports()
    except CannotStart as error:
        console.print(f"[red]{safe(error)}[/]")
        return 1
    url, endpoint = f"http://127.0.0.1:{at['PORT']}", f"http://127.0.0.1:{at['EVENTS_PORT']}"
    try:
        requests.get(f"{url}/api/missions/health", timeout=10).raise_for_status()
        if missions > 1:
            return day.play(url, missions, rate, console)
        missing = Demo(url, endpoint).play()
    except (EndpointConnectionError, requests.ConnectionError):
        console.print(f"[red]No stack answers at {url}.[/] Start it in another shell: make run")
        return 1
    except requests.HTTPError as error:
        console.print(f"[red]The stack refuses this:[/] {safe(error)}")
        if error.response.status_code in (401, 403):
            console.print("Callers have to sign in there (AUTH), and make demo does not. Run it without AUTH.")
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    if missing:
        console.print(f"[red]{missing} events did not arrive within {PATIENCE} seconds each.[/]")
        return 1
    console.print("\n[bold green]Done:[/] a mission went from PENDING to COMPLETED, and its 8 events arrived in order.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
