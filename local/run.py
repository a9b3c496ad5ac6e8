"""make run: the whole stack on this machine, until Ctrl-C."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import redis
from rich.markup import escape

from local.eventbridge import QUEUE, REGION, delivered, waiting
from local.lines import JsonLines, Lines, console, safe
from local.processes import start
from local.stack import (
    DATA,
    CannotStart,
    Part,
    aws,
    data_folder,
    environment,
    eventbridge,
    free_ports,
    gateway_options,
    part,
    valkey,
    wait_until_ready,
)

KEPT = 10_000  # lines that are not printed yet
AGAIN = 3  # times that a part is started again within a minute; then something is wrong with it


stopping = threading.Event()


def stop(*_: object) -> None:
    stopping.set()  # a KeyboardInterrupt that comes while a library cleans up is swallowed
    raise KeyboardInterrupt


def stop_on_signals() -> None:
    """Take SIGTERM, and the end of the terminal, as Ctrl-C; also where a shell put this into the background."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)


class Printing:
    """Prints in a thread of its own, one thing after the other: who tells never waits for the terminal."""

    def __init__(self, lines: Lines | JsonLines) -> None:
        self.lines = lines
        self.broken = threading.Event()  # nobody reads the output any more
        self._queue: queue.Queue[Callable[[], None]] = queue.Queue(KEPT)
        self._missed = 0
        threading.Thread(target=self._run, daemon=True).start()

    def later(self, what: Callable[..., None], *args: Any, **facts: Any) -> None:
        """Print this when what came before is printed; it is left out when that is far too much."""
        try:
            self._queue.put_nowait(partial(what, *args, **facts))
        except queue.Full:
            self._missed += 1

    def _run(self) -> None:
        while not self.broken.is_set():
            try:
                self._queue.get(timeout=1)()
                if self._missed and self._queue.empty():
                    missed, self._missed = self._missed, 0
                    self.lines.say(f"[yellow]{missed:,} lines were not shown:[/] the terminal did not take them")
            except queue.Empty:
                self._safely(self.lines.sum_up)
            except (OSError, SystemExit):  # rich ends a thread whose output is closed
                self.broken.set()
            except Exception as error:  # one thing that cannot be shown
                self._safely(partial(self.lines.say, f"Something could not be shown: {safe(repr(error))}"))

    def _safely(self, what: Callable[[], None]) -> None:
        try:
            what()
        except (OSError, SystemExit):
            self.broken.set()
        except redis.RedisError:
            pass  # Valkey has ended, and the run ends with it


def follow(front: Part, printing: Printing) -> None:
    """Print what the API tells, until it ends."""
    lines = printing.lines
    for line in front.process.stdout or ():
        try:
            told: dict[str, Any] = json.loads(line)
            kind = told.pop("kind")
        except (ValueError, AttributeError, KeyError):
            printing.later(lines.log, "API", line.decode(errors="replace"))
            continue
        match kind:
            case "request":
                printing.later(lines.request, told)
            case "log":
                printing.later(lines.log, told["function"], told["line"])
            case "scheduled" if told["answer"].get("published"):
                text = f"[cyan]relay[/] published {told['answer']['published']:,} events that requests had left"
                printing.later(lines.say, text, relay=told["answer"])
            case "scheduled" if told["function"] == "sweep_missions" and (what := swept(told["answer"])):
                printing.later(lines.say, f"[cyan]swept:[/] {what}", sweeper=told["answer"])


def swept(answer: dict[str, Any]) -> str:
    """What a run of the sweeper did, such as "2 failed, 1 cancelled"; empty when it did nothing."""
    return ", ".join(f"{answer[what]:,} {what}" for what in ("failed", "cancelled", "removed", "left") if answer[what])


def show_events(events: Iterator[tuple[float, dict[str, Any]]], printing: Printing) -> None:
    """Print every event that is delivered, until Valkey ends."""
    with suppress(redis.RedisError):
        for accepted, event in events:
            printing.later(printing.lines.event, accepted, event)


def welcome(url: str, endpoint: str, options: dict[str, Any]) -> None:
    """Say what there is and what to do first."""
    queue_url = aws("sqs", endpoint).get_queue_url(QueueName=QUEUE)["QueueUrl"]
    request = f"{url}/api/missions -H 'content-type: application/json' -d '{{\"name\": \"Deploy v2.0\"}}'"
    demo = """
One mission, step by step:        make demo                          (in another shell)
A day with much to see:           make demo MISSIONS=200 RATE=20"""
    match options["sign_in"]:
        case "jwt":
            asked = "namespace=team-a" if options["namespace_claim"] else "sub=me"
            first = f"token=$(curl -s {url}/_local/token -d {asked} | jq -r .access_token)\n  "
            first += f'curl -s -H "authorization: Bearer $token" {request}'
        case "iam":
            first = f"curl -s --user local:local --aws-sigv4 aws:amz:{REGION}:execute-api {request}"
        case _:
            first = f"curl -s {request}"
    seen = (
        f"It takes signed requests only, so a browser shows nothing at {url}."
        if options["sign_in"] == "iam"
        else (f"See them live, and act on them:  [bold]{url}[/]")
    )
    console.print(f"""
[bold green]Missions is ready.[/] {seen}
Create a mission:

  {escape(first)}

What the API can do:              {url}/docs{"" if options["sign_in"] else demo}
The newest 1,000 events are in    {queue_url}
Missions, rules and queues are kept in {DATA}/ for the next run. Ctrl-C stops everything.
""")


def supervise(store: Part, others: list[Part], printing: Printing, follow_front: Callable[[Part], None]) -> int:
    """Start again what ends, until Valkey does: without it nothing can be kept."""
    restarts: Counter[str] = Counter()
    minute = time.monotonic()
    while not store.ended:
        if stopping.is_set():
            raise KeyboardInterrupt
        if printing.broken.is_set():
            return 0
        for each in others:
            if not each.ended:
                continue
            if time.monotonic() - minute > 60:
                restarts, minute = Counter(), time.monotonic()
            restarts[each.name] += 1
            if restarts[each.name] > AGAIN:
                console.print(f"[red]{each.name} ends again and again.[/] The lines above say why. All is kept.")
                return 1
            text = f"[yellow]{each.name} has ended and is started again.[/] Nothing that was answered is lost."
            printing.later(printing.lines.say, text, restarted=each.name)
            each.restart()
            follow_front(each)
        time.sleep(0.2)
    console.print(
        f"[red]Valkey has ended.[/] {safe(store.last_words())}\n"
        "Every acknowledged mission is kept. When the reason is gone, start again: make run"
    )
    return 1


def run(parts: ExitStack) -> int:
    """Start everything, and run until Valkey ends. Raises CannotStart."""
    options = gateway_options()  # before anything is started
    if (form := os.environ.get("LOG", "")) not in ("", "json"):
        raise CannotStart(f"LOG is '{form}'. It may be json; without it, lines are for people")
    folder = parts.enter_context(data_folder())
    port, events_port, redis_port = free_ports(folder)
    console.print("Starting Valkey, EventBridge and the API ...")
    url, endpoint = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{events_port}"
    redis_url = f"redis://127.0.0.1:{redis_port}"
    store = parts.enter_context(valkey(folder / "valkey", redis_port))
    client = redis.Redis.from_url(redis_url)
    printing = Printing(JsonLines() if form == "json" else Lines(lambda: waiting(client)))
    events = delivered(redis.Redis.from_url(redis_url))  # from here on, so that those of the last run are shown, too
    threading.Thread(target=show_events, args=(events, printing), daemon=True).start()
    bus = parts.enter_context(eventbridge(redis_url, events_port))
    settings = environment(redis_url, endpoint)
    begin = partial(start, "local.front", environment=settings | {"PORT": str(port)}, output=subprocess.PIPE)
    front = parts.enter_context(part("The API", begin))

    def follow_front(each: Part) -> None:
        if each is front:
            threading.Thread(target=follow, args=(front, printing), daemon=True).start()

    follow_front(front)
    wait_until_ready(url, alive=lambda: not front.ended)
    welcome(url, endpoint, options)
    return supervise(store, [front, *bus], printing, follow_front)


def main() -> int:
    """Run until Ctrl-C, SIGTERM, or the end of the terminal."""
    stop_on_signals()
    try:
        with ExitStack() as parts:
            return run(parts)
    except CannotStart as error:
        console.print(f"[red]{safe(error)}[/]")
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped. What there was is kept for the next run.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
