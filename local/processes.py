"""Processes that end when this one does, also when it is killed: their standard input is a pipe that only it holds."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
# For a program that does not look at its input: the shell does, and ends it. It ends, too, when the program does.
WATCH = """
exec 3<&0
"$@" </dev/null 3<&- & program=$!
(while read -r _; do :; done <&3; kill $program) 2>/dev/null & watcher=$!
exec 3<&- 2>/dev/null
wait $program; code=$?
kill $watcher
exit $code
"""


def start(
    module: str, *args: str, environment: Mapping[str, str], output: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a module of this project, which calls `end_with_parent`. Ctrl-C does not reach it: its parent ends it."""
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers/missions")))}
    return subprocess.Popen(
        [sys.executable, "-m", module, *args],
        env=os.environ | environment | paths,
        stdin=subprocess.PIPE,
        stdout=output,
        start_new_session=True,
    )


def start_program(command: Sequence[str | Path], output: int | None = None) -> subprocess.Popen[bytes]:
    """Start another program; it gets SIGTERM when this process ends."""
    return subprocess.Popen(
        ["/bin/sh", "-c", WATCH, "sh", *map(str, command)],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes], seconds: float = 5) -> None:
    """Let a process end: its input is closed; it is killed with what it started when that does not help."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_with_parent() -> None:
    """End this process with SIGTERM when its input ends, that is with the process that started it."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


_given: set[int] = set()


def unused_port() -> int:
    """A free port, another one each time.

    It lies below those that Linux gives to clients, so nobody takes it before its server does.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)  # other processes that are seeded alike get others
        if port not in _given:
            with suppress(OSError), socket.create_server(("127.0.0.1", port)):
                _given.add(port)
                return port
