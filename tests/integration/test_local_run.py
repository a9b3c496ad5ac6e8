"""What `make run` tells of the functions that run by themselves."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from missions.publishing.relay import Report as Relayed
from missions.sweeper import Report as Swept

from local import front, run
from local.processes import unused_port


def told(function: str, report: Any) -> list[str]:
    """The lines that are printed of one run of a function."""
    lines: list[str] = []
    line = json.dumps({"kind": "scheduled", "function": function, "answer": vars(report)}).encode()
    printing: Any = SimpleNamespace(
        lines=SimpleNamespace(say=lambda text, **_: lines.append(text)),
        later=lambda what, *args, **facts: what(*args, **facts),
    )
    part: Any = SimpleNamespace(process=SimpleNamespace(stdout=[line]))
    run.follow(part, printing)
    return lines


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (Swept(), []),
        (Swept(failed=2, cancelled=1), ["[cyan]swept:[/] 2 failed, 1 cancelled"]),
        (Swept(removed=1200, left=3, oldest=70_000), ["[cyan]swept:[/] 1,200 removed, 3 left"]),
    ],
    ids=str,
)
def test_what_the_sweeper_did_is_told_and_nothing_when_it_did_nothing(report: Swept, lines: list[str]) -> None:
    assert told("sweep_missions", report) == lines


def test_what_the_relay_published_is_told_and_not_what_it_left() -> None:
    assert told("relay_events", Relayed(left=3)) == []
    (line,) = told("relay_events", Relayed(published=1200, left=3))
    assert line.startswith("[cyan]relay[/] published 1,200 events")


def test_the_relay_and_the_sweeper_run_each_minute() -> None:
    assert sorted(front.schedules()) == [("relay_events", 60), ("sweep_missions", 60)]


def test_ctrl_c_ends_the_run_though_a_library_swallowed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "stopping", threading.Event())
    with suppress(KeyboardInterrupt):
        run.stop(signal.SIGINT, None)
    store: Any = SimpleNamespace(ended=False)
    printing: Any = SimpleNamespace(broken=SimpleNamespace(is_set=lambda: True))  # it would end with 0
    with pytest.raises(KeyboardInterrupt):
        run.supervise(store, [], printing, lambda _: None)


FRONT = """
import asyncio, signal, sys
import uvicorn
from local import front

shut_down = uvicorn.Server.shutdown
async def shutdown(self, sockets=None):
    await shut_down(self, sockets)
    front.tell("log", function="f", line="the last request")
uvicorn.Server.shutdown = shutdown

class Functions:
    def __init__(self, environment, on_log):
        self.on_log = on_log

    async def __aenter__(self):
        for number in range(600):  # more than a pipe takes
            self.on_log("f", f"{number} {'x' * 300}")
        return self

    async def __aexit__(self, *error):
        pass

    async def invoke(self, *asked):
        return {}

front.LocalLambda, front.schedules = Functions, list
signal.signal(signal.SIGUSR1, lambda *_: None)
front.main(int(sys.argv[1]))
"""


def test_every_line_is_told_though_a_signal_ends_a_write_early_and_the_process_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", FRONT, str(unused_port())], stdout=subprocess.PIPE) as running:
        time.sleep(3)
        running.send_signal(signal.SIGUSR1)  # while it waits for the pipe
        time.sleep(0.2)
        threading.Timer(1, running.terminate).start()
        assert running.stdout
        told = [json.loads(line)["line"].split(" x")[0] for line in running.stdout]
    assert told == [*map(str, range(600)), "the last request"]
