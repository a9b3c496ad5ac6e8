"""make run says what is in its way, and what to do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.run import wait_until_ready
from local.stack import port

ROOT = Path(__file__).parents[2]
PORTS = ("PORT", "EVENTS_PORT", "REDIS_PORT")


def start(folder: Path, **changes: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    ports = {name: str(port(f"UNSET_{name}", 0)) for name in PORTS} | changes
    environment = os.environ | ports | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers/missions'}"}
    command = [sys.executable, "-m", "local.run"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ), ports


@pytest.mark.parametrize(("value", "said"), [("abc", "EVENTS_PORT is 'abc'"), ("99999", "EVENTS_PORT is '99999'")])
def test_a_port_that_is_none_is_refused(tmp_path: Path, value: str, said: str) -> None:
    process, _ = start(tmp_path, EVENTS_PORT=value)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, said in output, "Traceback" in output) == (1, True, False)


def test_a_second_run_on_the_same_missions_is_refused_and_a_dead_valkey_ends_the_run(tmp_path: Path) -> None:
    first, ports = start(tmp_path)
    try:
        wait_until_ready(f"http://127.0.0.1:{ports['PORT']}")
        pid = int((tmp_path / ".local/valkey/valkey.pid").read_text())
        second, _ = start(tmp_path)
        output, _ = second.communicate(timeout=20)
        assert (second.returncode, f"process {pid}" in output, "Traceback" in output) == (1, True, False)
        third, _ = start(tmp_path, REDIS_PORT=ports["REDIS_PORT"])
        output, _ = third.communicate(timeout=20)
        assert (third.returncode, "REDIS_PORT" in output) == (1, True)
        os.kill(pid, signal.SIGKILL)
        output, _ = first.communicate(timeout=20)
        assert (first.returncode, "Valkey has ended" in output) == (1, True)
        again, ports = start(tmp_path)
        wait_until_ready(f"http://127.0.0.1:{ports['PORT']}")
        time.sleep(0.1)
        again.terminate()
        again.communicate(timeout=20)
        assert again.returncode == 0
    finally:
        first.kill()
        first.communicate()
