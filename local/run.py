"""make run: the whole stack on this machine, until Ctrl-C."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.markup import escape

from local.gateway import FunctionError
from local.stack import QUEUE, CannotStart, Stack, aws, listen, port, stack

DATA = Path(".local")
CONSOLE_QUEUE = "missions-console"
RELAY_INTERVAL = 60  # seconds, as in template.yaml

console = Console(highlight=False, soft_wrap=True)


def clock() -> str:
    return time.strftime("%H:%M:%S")


def tell_request(method: str, path: str, status: int, seconds: float) -> None:
    """Print one request as one line."""
    colour = "green" if status < 400 else "yellow" if status < 500 else "red"
    console.print(
        f"[dim]{clock()}[/]  [{colour}]{status}[/]  {method:<4} {escape(path)}  [dim]{seconds * 1000:.0f} ms[/]",
        emoji=False,
    )


def tell_event(event: dict[str, Any]) -> None:
    """Print one event, as it arrived on the bus, as one line."""
    detail = event["detail"]
    payload = {name: value for name, value in detail["payload"].items() if name != "mission_id"}
    console.print(
        f"[dim]{clock()}[/]  [cyan]event[/] {detail['type']}  "
        f"[dim]#{detail['meta']['sequence']} of {detail['payload']['mission_id']}[/] "
        f"{escape(json.dumps(payload, ensure_ascii=False))}",
        emoji=False,
    )


def show_events(endpoint: str) -> None:
    """Print every event that the bus delivers."""
    url = listen(endpoint, CONSOLE_QUEUE)
    sqs = aws("sqs", endpoint)
    while True:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages", []):
            tell_event(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def relay_events(running: Stack) -> None:
    """Invoke the relay every minute, as the schedule of the template does."""
    while True:
        with suppress(FunctionError):  # it is on the console; the next run may do better
            report = running.gateway.invoke("relay_events", {}).result()
            if report["published"]:
                console.print(f"[dim]{clock()}[/]  [cyan]relay[/] published {report['published']} waiting events")
        time.sleep(RELAY_INTERVAL)


def wait_until_ready(url: str, seconds: int = 30, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until the health check answers 200. Raises SystemExit when it does not."""
    deadline = time.monotonic() + seconds
    while alive() and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/api/missions/health", timeout=10).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise SystemExit("The API did not become ready; the lines above say why.")


def stop_on_signals() -> None:
    """Take SIGTERM as Ctrl-C, and Ctrl-C also where a shell put this into the background and switched it off."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def chosen_ports() -> str:
    """The ports that were chosen, as the other targets have to be told them."""
    names = ("PORT", "EVENTS_PORT", "REDIS_PORT")
    return "".join(f" {name}={os.environ[name]}" for name in names if name in os.environ)


def welcome(running: Stack, queue_url: str) -> None:
    """Say what there is and what to do first."""
    console.print(f"""
[bold green]Missions is ready[/] at [bold]{running.url}[/]. Create a mission:

  curl -s {running.url}/api/missions -H 'content-type: application/json' -d '{{"name": "Deploy v2.0"}}'

Read what the API can do:          {running.url}/docs
Watch one through its whole life:  make demo{chosen_ports()}    (in another shell)
Its events are in the queue        {queue_url}
Its missions are kept in {DATA}/. Ctrl-C stops everything.
""")


def main() -> int:
    """Run until Ctrl-C or SIGTERM."""
    stop_on_signals()
    try:
        ports = {
            "port": port("PORT", 3000),
            "events_port": port("EVENTS_PORT", 5000),
            "redis_port": port("REDIS_PORT", 6399),
        }
    except CannotStart as error:
        console.print(f"[red]{error}[/]")
        return 1
    console.print("Starting Valkey, EventBridge and the API ...")
    try:
        with stack(DATA / "valkey", on_request=tell_request, **ports) as running:
            wait_until_ready(running.url)
            queue_url = aws("sqs", running.endpoint).get_queue_url(QueueName=QUEUE)["QueueUrl"]
            welcome(running, queue_url)
            for task, argument in ((show_events, running.endpoint), (relay_events, running)):
                threading.Thread(target=task, args=(argument,), daemon=True).start()
            while running.alive:
                time.sleep(0.5)
            console.print("[red]Valkey has ended.[/] The missions are kept; start again: make run")
            return 1
    except CannotStart as error:
        console.print(f"[red]{error}[/]")
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped. The missions are kept for the next run.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
