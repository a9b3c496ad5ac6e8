"""What `make run` prints: a short line for each request and event, and under load one for each second."""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

HEALTH = "GET /api/missions/health"
KINDS = ("requests", "refused requests", "failed requests", "events", "lines of logs")
MANY = 15  # lines in a second, after which the rest of it is counted instead

# With LOG=json the standard output is for programs alone
console = Console(stderr=os.environ.get("LOG") == "json", highlight=False, soft_wrap=True, emoji=False)


def plain(text: object) -> str:
    """Text that cannot steer a terminal: control characters and escape sequences are shown as what they are."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


def safe(text: object) -> str:
    """Plain text within markup."""
    return escape(plain(text))


def clock(moment: float) -> str:
    """A moment, in Unix seconds, as the time of day here."""
    return f"[dim]{time.strftime('%H:%M:%S', time.localtime(moment))}[/]"


class JsonLines:
    """The lines of a run for programs (LOG=json): each is one JSON object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def request(self, told: dict[str, Any]) -> None:
        """One request, as the access log of the template has it."""
        self._print("request", told)

    def event(self, accepted: float, event: dict[str, Any]) -> None:
        """One event, as the rules of the bus are given it."""
        self._print("event", event)

    def log(self, function: str, line: str) -> None:
        """A line that a function wrote."""
        self._print("log", {"function": function, "line": line})

    def say(self, text: str, **facts: Any) -> None:
        """Something that happened; `text` is markup."""
        self._print("message", {"text": Text.from_markup(text).plain, **facts})

    def sum_up(self) -> None:
        """Nothing is left out."""

    def _print(self, kind: str, what: dict[str, Any]) -> None:
        with self._lock:
            sys.stdout.write(json.dumps({"time": time.time(), "kind": kind, kind: what}) + "\n")
            sys.stdout.flush()


class Lines:
    """The lines of a run. `waiting` tells how many events are not delivered yet."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._second = 0
        self._shown = 0
        self._counted: Counter[str] = Counter()

    def request(self, told: dict[str, Any]) -> None:
        """One request, as the gateway tells it."""
        status = int(told["status"])
        if (told["route"] == HEALTH and status == 200) or status == 304:
            return  # asked again and again
        level = 0 if status < 400 else 1 if status < 500 else 2
        if not self._shows(KINDS[level]):
            return
        colour = ("green", "yellow", "red")[level]
        console.print(
            f"{clock(told['time'])}  [{colour}]{status}[/]  {safe(told['method']):<4} {safe(told['path'])}  "
            f"[dim]{told['seconds'] * 1000:.0f} ms[/]",
        )

    def event(self, accepted: float, event: dict[str, Any]) -> None:
        """One event, as the rules of the bus are given it; those of other services by their type alone."""
        if not self._shows("events"):
            return
        detail = event["detail"]
        try:
            what = {name: value for name, value in detail["payload"].items() if name != "mission_id"}
            meta = detail["meta"]
            place = f" in {safe(meta['namespace'])}" if meta.get("namespace", "default") != "default" else ""
            about = f"[dim]#{int(meta['sequence'])} of {safe(detail['payload']['mission_id'])}{place}[/]"
            what |= {"reason": meta["reason"]} if "reason" in meta else {}
            moment = clock(float(detail["timestamp"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
            what, about, moment = detail, f"[dim]from {safe(event['source'])}[/]", clock(accepted)
        text = f"[cyan]event[/] {safe(event['detail-type'])}  {about} {safe(json.dumps(what, ensure_ascii=False))}"
        console.print(f"{moment}  {text}")

    def log(self, function: str, line: str) -> None:
        """A line that a function wrote: one of powertools' in words, any other as it is."""
        if not self._shows("lines of logs"):
            return
        level, message = "", line
        try:
            record = json.loads(line)
            level = record["level"].lower()
            extra = {
                name: value
                for name, value in record.items()
                if name not in ("level", "location", "message", "timestamp", "service")
            }
            message = f"{record['message']} {json.dumps(extra, ensure_ascii=False) if extra else ''}"
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        colour = {"warning": "yellow", "error": "red", "critical": "red"}.get(level, "dim")
        console.print(f"{clock(time.time())}  [{colour}]{level or 'log'}[/] {safe(function)}: {safe(message.strip())}")

    def say(self, text: str, **facts: Any) -> None:
        """Something that is always shown; `text` is markup."""
        console.print(f"{clock(time.time())}  {text}")

    def _shows(self, kind: str) -> bool:
        """Whether one more line is shown; if not, it is counted."""
        if int(time.time()) != self._second:
            self.sum_up()
        self._shown += 1
        if self._shown > MANY:
            self._counted[kind] += 1
        return self._shown <= MANY

    def sum_up(self) -> None:
        """Say what was left out; for when nothing else is printed."""
        if self._counted:
            counts = ", ".join(f"{self._counted[kind]:,} {kind}" for kind in KINDS if self._counted[kind])
            waiting = self._waiting()
            wait = f"; EventBridge has {waiting:,} events still to deliver" if waiting else ""
            console.print(f"{clock(self._second or time.time())}  [dim]and[/] {counts}{wait}")
        self._second, self._shown = int(time.time()), 0
        self._counted.clear()
