"""The command `missions`, installed as a user installs it, against `make run`: how long a list takes, what
`missions run` adds to a command, and how fast it takes a command's output.
"""

import os
import subprocess
import sys
import time
import venv
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from missions_client import Client

from benchmarks.local_stack import process
from benchmarks.report import Report, Row
from benchmarks.timing import Sample, check, shown
from local.processes import ROOT, unused_port

LINES = 50_000
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
                    "true": ["true"]}  # fmt: skip
        samples = {name: Sample() for name in commands}
        for turn in range(-1, 5 if quick else 20):
            for name, words in commands.items():
                took = timed(words, environment)
                if turn >= 0:  # the first one compiles
                    samples[name].seconds.append(took)
        listed, ran, bare = samples.values()
        report.add(Row("client", "missions list of 50, in s", shown(listed.median), "", listed.median, LIST))
        added = ran.median - bare.median
        report.add(Row("client", "added by missions run, in s", shown(ran.median), f"true {bare}", added, ADDED))
        check(sum(each.name == "true" for each in client.list()) == len(ran.seconds) + 1, "a mission was not created")

        words = [sys.executable, "-c", WRITES]
        alone = timed(words, environment)
        took = timed([command, "run", "--name", "Long output", "--", *words], environment)
        (mission,) = client.list(name="Long output")
        logged = sum(1 for each in client.read_log(mission.id) if each.message.startswith("Step "))
        check(logged == LINES, f"{logged} of {LINES} lines are in the log")
        name, figure = f"{LINES:,} lines at once, all delivered", f"{LINES / took:,.0f} a second"
        report.add(Row("client", name, figure, f"the command alone {shown(alone)}", LINES / took, RATE, ">="))


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
