"""A stack of `make run`, for tests that speak to it over HTTP."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.processes import ROOT, unused_port
from local.stack import wait_until_ready


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[tuple[str, int]]:
    """`make run` in this folder, on free ports: its URL, and the port of its store. No traceback may be printed."""
    ports = {name: unused_port() for name in ("PORT", "EVENTS_PORT", "REDIS_PORT")}
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers/missions")))}
    environment = os.environ | paths | settings | {name: str(port) for name, port in ports.items()}
    with (folder / "output").open("w") as output:
        command = [sys.executable, "-m", "local.run"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{ports['PORT']}"
            wait_until_ready(url)
            while "Missions is ready" not in (told := (folder / "output").read_text()):
                assert process.poll() is None, told
                time.sleep(0.1)
            yield url, ports["REDIS_PORT"]
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in (folder / "output").read_text()
