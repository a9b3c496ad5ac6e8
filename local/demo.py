"""make demo: one mission through its whole life, against the running stack."""

import json
import os
import sys
import time
from typing import Any
from uuid import uuid4

import requests
from botocore.exceptions import EndpointConnectionError
from rich.console import Console

from local.stack import aws, forget, listen

URL = f"http://127.0.0.1:{os.environ.get('PORT', 3000)}"
ENDPOINT = f"http://127.0.0.1:{os.environ.get('EVENTS_PORT', 5000)}"
PATIENCE = 10  # seconds to wait for the events of one step

console = Console(highlight=False, soft_wrap=True)


def arrived(queue_url: str, expected: int) -> list[dict[str, Any]]:
    """The events that arrive, until there are as many as expected or patience ends."""
    sqs = aws("sqs", ENDPOINT)
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + PATIENCE
    while len(events) < expected and time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages", []
        ):
            events.append(json.loads(message["Body"])["detail"])
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(events, key=lambda event: event["meta"]["sequence"])


def step(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Send one request and show what was sent and what came back."""
    console.print(f"[bold]{method} {path}[/]")
    if body:
        console.print(f"  sent      {json.dumps(body)}", markup=False)
    response = requests.request(method, URL + path, json=body, timeout=30)
    answer: dict[str, Any] = response.json()
    console.print(f"  came back [green]{response.status_code}[/]", end=" ")
    console.print(json.dumps(answer), markup=False)
    response.raise_for_status()
    return answer


def show(queue_url: str, expected: int) -> int:
    """Show the events of the last step; tells how many are missing."""
    events = arrived(queue_url, expected)
    for event in events:
        told = json.dumps(event["payload"])
        console.print(f"  [cyan]event[/]     #{event['meta']['sequence']} {event['type']}", end=" ")
        console.print(told, markup=False)
    return expected - len(events)


def main() -> int:
    """Drive one mission; 0 when every event arrived."""
    queue = f"missions-demo-{uuid4().hex[:8]}"
    try:
        queue_url = listen(ENDPOINT, queue)
        requests.get(f"{URL}/api/missions/health", timeout=10).raise_for_status()
    except (EndpointConnectionError, requests.RequestException):
        console.print(f"[red]No stack answers at {URL} and {ENDPOINT}.[/] Start one in another shell: make run")
        return 1
    try:
        mission = step("POST", "/api/missions", {"name": "Deploy Application v2.0", "data": {"commit": "4f2a9c1"}})
        missing = show(queue_url, 2)
        path = f"/api/missions/{mission['id']}"
        step("POST", f"{path}/status", {"status": "RUNNING"})
        missing += show(queue_url, 2)
        for number in (1, 2):
            step("POST", f"{path}/log", {"level": "info", "message": f"Deployment step {number}/2 completed"})
            missing += show(queue_url, 1)
        step("POST", f"{path}/status", {"status": "COMPLETED"})
        missing += show(queue_url, 2)
        step("GET", path)
        step("GET", f"{path}/log")
        step("GET", "/api/missions/stats/overview")
    finally:
        forget(ENDPOINT, queue, queue_url)
    if missing:
        console.print(f"[red]{missing} events did not arrive within {PATIENCE} seconds each.[/]")
        return 1
    console.print("\n[bold green]Done:[/] a mission went from PENDING to COMPLETED, and its 8 events arrived in order.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
