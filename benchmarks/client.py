"""The command `missions`, installed as a user installs it: how long a list takes, what `missions run` adds to a
command, and how fast a command's output is delivered, to `make run` and to an API that is far away.
"""

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from missions_client import Client, Mission

from benchmarks.local_stack import process
from benchmarks.report import Report, Row
from benchmarks.timing import Sample, check, shown
from local.processes import ROOT, unused_port

LINES = 50_000
ANSWERS_AFTER = 0.01  # seconds, each request of an API that is far away
LIST, ADDED, RATE = 0.3, 0.2, 5000  # seconds, seconds, and lines a second: the targets
WRITES = f"import sys; [sys.stdout.write(f'Step {{each}} of {LINES} done\\n') for each in range({LINES})]"


def measure(report: Report, *, quick: bool) -> None:
    with ExitStack() as running:
        here, there = (Path(running.enter_context(TemporaryDirectory())) for _ in range(2))
        command = installed(here)
        port, events_port, redis_port = (unused_port() for _ in range(3))
        ports = {"PORT": str(port), "EVENTS_PORT": str(events_port), "REDIS_PORT": str(redis_port)}
        running.enter_context(process(["local.run"], str(there), port, **ports))
        environment = {**os.environ, "HOME": str(there), "MISSIONS_URL": f"http://127.0.0.1:{port}"}
        environment = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        client = running.enter_context(Client(environment["MISSIONS_URL"]))
        for number in range(50):
            client.create(f"Mission {number}")

        commands = {"missions list": [command, "list"], "missions run -- true": [command, "run", "--", "true"],
                    "true": ["true"], "missions run -- sleep": [command, "run", "--", "sleep", "0.5"],
                    "sleep": ["sleep", "0.5"]}  # fmt: skip
        samples = {name: Sample() for name in commands}
        for turn in range(-1, 5 if quick else 20):
            for name, words in commands.items():
                took = timed(words, environment)
                if turn >= 0:  # the first one compiles
                    samples[name].seconds.append(took)
        listed, ran, bare, ran_longer, longer = samples.values()
        report.add(Row("client", "missions list of 50, in s", shown(listed.median), "", listed.median, LIST))
        added = ran.median - bare.median
        report.add(Row("client", "added by missions run, in s", shown(ran.median), f"true {bare}", added, ADDED))
        added = ran_longer.median - longer.median
        name = "added to half a second, in s"
        report.add(Row("client", name, shown(ran_longer.median), f"sleep 0.5 {longer}", added, ADDED))
        check(sum(each.name == "true" for each in client.list()) == len(ran.seconds) + 1, "a mission was not created")

        words = [sys.executable, "-c", WRITES]
        alone = timed(words, environment)
        reported = [command, "run", "--name", "Long output", "--", *words]
        took = timed(reported, environment)
        (mission,) = client.list(name="Long output")
        logged = sum(1 for each in client.read_log(mission.id) if each.message.startswith("Step "))
        check(logged == LINES, f"{logged} of {LINES} lines are in the log")
        name, figure = f"{LINES:,} lines at once, delivered to make run", f"{LINES / took:,.0f} a second"
        report.add(Row("client", name, figure, f"the command alone {shown(alone)}", LINES / took, RATE, ">="))
        with far_away(mission) as (url, taken):
            took = timed(reported, environment | {"MISSIONS_URL": url})
        check(sum(taken) == LINES, f"{sum(taken)} of {LINES} lines arrived")
        name = f"the same to an API that answers after {shown(ANSWERS_AFTER)}"
        report.add(Row("client", name, f"{LINES / took:,.0f} a second", "", LINES / took, RATE, ">="))


@contextmanager
def far_away(mission: Mission) -> Iterator[tuple[str, list[int]]]:
    """The URL of an API that takes everything, with this answer; and how many entries each request had."""
    taken: list[int] = []

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", "0")))
            taken.append(len(json.loads(content or b"{}").get("entries", ())))
            time.sleep(ANSWERS_AFTER)
            content = json.dumps({"entries": [], **asdict(mission)}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


def installed(folder: Path) -> str:
    """The command, in an environment of its own."""
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, str(ROOT / "client")], capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"the client could not be installed:\n{done.stderr[-500:]}")
    return str(folder / "venv/bin/missions")


def timed(words: list[str], environment: dict[str, str]) -> float:
    """The seconds that a command takes."""
    started = time.perf_counter()
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    check(done.returncode == 0, f"{words[0]} failed:\n{done.stderr[-500:]}")
    return took
