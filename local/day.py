"""make demo MISSIONS=200 RATE=20: a believable day of deployments, jobs and agent runs."""

import heapq
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import requests
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SERVICES = ["checkout", "search", "billing", "inventory", "mail", "web"]
JOBS = ["Nightly export of invoices", "Reindex the catalogue", "Compress old images", "Import exchange rates"]
TASKS = ["fix the flaky login test", "update the dependencies", "answer ticket 4711", "write release notes"]
FAILURES = [
    "health check failed: 2 of 5 instances answer 502",
    "out of memory in worker 3",
    "the database refused the connection",
    "tests failed: 3 of 1,204",
    "no space left on device",
]
PAUSE = 2.0  # seconds of the day between two steps of a mission, on average


class Step(NamedTuple):
    """A request of a mission's life, and how long after the one before it comes."""

    after: float
    path: str
    body: dict[str, Any]


@dataclass
class Day:
    """Missions that begin, go on beside each other and end."""

    chance: random.Random
    told: Counter[str] = field(default_factory=Counter)

    def lives(self, missions: int) -> Iterator[Iterator[Step]]:
        """The steps of each mission."""
        for _ in range(missions):
            yield self.chance.choice([self.deployment, self.job, self.agent])(uuid4().hex[:12])

    def deployment(self, mission_id: str, attempt: int = 1, what: str = "") -> Iterator[Step]:
        """Builds, rolls out, sometimes fails and is tried again."""
        service = self.chance.choice(SERVICES)
        what = what or f"Deploy {service} v{self.chance.randint(1, 4)}.{self.chance.randint(0, 30)}"
        yield self._create(mission_id, what, {"commit": uuid4().hex[:7], "attempt": attempt}, "env=prod")
        yield self._status(mission_id, "RUNNING")
        for text in ("Building the image", "Pushing the image", "Running 1,204 tests"):
            yield self._log(mission_id, text)
        for number in range(1, 6):
            yield self._log(mission_id, f"Rolled out to instance {number} of 5")
            if self.chance.random() < 0.06:
                yield from self._fail(mission_id)
                if attempt < 3:
                    yield from self.deployment(uuid4().hex[:12], attempt + 1, what)
                return
        yield self._status(mission_id, "COMPLETED")

    def job(self, mission_id: str) -> Iterator[Step]:
        """Waits a while, then writes many lines at once; some are cancelled before they begin."""
        yield self._create(
            mission_id, self.chance.choice(JOBS), {"rows": self.chance.randint(1_000, 900_000)}, "kind=job"
        )
        if self.chance.random() < 0.1:
            yield self._status(mission_id, "CANCELLED", "not needed today")
            return
        yield self._status(mission_id, "RUNNING")
        for part in range(self.chance.randint(2, 5)):
            lines = [f"Part {part + 1}, row {number * 1000}: ok" for number in range(self.chance.randint(5, 20))]
            yield self._step(mission_id, "log", {"entries": [{"message": line} for line in lines]})
        if self.chance.random() < 0.1:
            yield from self._fail(mission_id)
        else:
            yield self._status(mission_id, "COMPLETED")

    def agent(self, mission_id: str) -> Iterator[Step]:
        """Thinks, calls tools, warns; somebody stops some of them."""
        yield self._create(
            mission_id, f"Agent: {self.chance.choice(TASKS)}", {"model": "small", "budget": 20_000}, "kind=agent"
        )
        yield self._status(mission_id, "RUNNING")
        for _ in range(self.chance.randint(3, 9)):
            tool = self.chance.choice(["read_file", "run_tests", "search", "edit_file"])
            level = "warning" if self.chance.random() < 0.15 else "info"
            yield self._log(mission_id, f"Called {tool}", level, {"seconds": round(self.chance.random() * 9, 1)})
            if self.chance.random() < 0.04:
                yield self._status(mission_id, "CANCELLED", "stopped by its owner")
                return
        yield self._status(mission_id, "COMPLETED")

    def _create(self, mission_id: str, name: str, data: dict[str, Any], *tags: str) -> Step:
        return Step(0, "/api/missions", {"id": mission_id, "name": name, "data": data, "tags": tags})

    def _status(self, mission_id: str, status: str, reason: str = "") -> Step:
        self.told[status] += 1
        return self._step(mission_id, "status", {"status": status} | ({"reason": reason} if reason else {}))

    def _log(self, mission_id: str, message: str, level: str = "info", data: dict[str, Any] | None = None) -> Step:
        return self._step(mission_id, "log", {"level": level, "message": message} | ({"data": data} if data else {}))

    def _fail(self, mission_id: str) -> Iterator[Step]:
        reason = self.chance.choice(FAILURES)
        yield self._log(mission_id, reason, "error")
        yield self._status(mission_id, "FAILED", reason)

    def _step(self, mission_id: str, what: str, body: dict[str, Any]) -> Step:
        return Step(self.chance.expovariate(1 / PAUSE), f"/api/missions/{mission_id}/{what}", body)


def play(url: str, missions: int, rate: float, console: Console) -> int:
    """Play the day with so many requests a second; 0 when every request was taken."""
    day = Day(random.Random())  # noqa: S311
    # (when it is due, in seconds of the day; a number that keeps the order; the life; its step)
    due: list[tuple[float, int, Iterator[Step], Step]] = []
    for number, life in enumerate(day.lives(missions)):
        heapq.heappush(due, (number * PAUSE / 4, number, life, next(life)))
    answers: Counter[int] = Counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    session = requests.Session()
    began = time.monotonic()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("missions ended", total=missions)
        while due:
            moment, number, life, step = heapq.heappop(due)
            time.sleep(max(0.0, began + answers.total() / rate - time.monotonic()))
            while (status := session.post(url + step.path, json=step.body, timeout=30).status_code) == 429:
                time.sleep(1)  # the stack has a limit (REQUEST_RATE)
            answers[status] += 1
            if following := next(life, None):
                heapq.heappush(due, (moment + following.after, number, life, following))
            else:
                progress.advance(bar)
    refused = {status: count for status, count in answers.items() if status not in (200, 201)}
    seconds = time.monotonic() - began
    console.print(
        f"[bold green]Done:[/] {answers.total():,} requests in {seconds:.0f} seconds. "
        f"With those that were tried again, {day.told.total() - day.told['RUNNING']} missions ended: "
        f"{day.told['COMPLETED']} completed, {day.told['FAILED']} failed, {day.told['CANCELLED']} cancelled."
    )
    if refused:
        console.print(
            f"[red]Not taken:[/] {', '.join(f'{count} answered {status}' for status, count in refused.items())}"
        )
    console.print(f"Look at them:  [bold]{url}/[/]   or:  curl -s '{url}/api/missions?status=FAILED&tag=env=prod'")
    return int(bool(refused))
