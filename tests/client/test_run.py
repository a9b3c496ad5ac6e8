"""`missions run` as a process, with commands as people write them."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from missions_client import Client, Mission
from missions_client.run import Lines

from local.processes import unused_port
from local.stack import wait_until_ready
from tests.client.api import BUSY, Asked, Break, Double, Say, Step, Wait, problem

ROOT = Path(__file__).parents[2]
# What the command line does, with times of a test
RUN = """
import json, os, sys
from missions_client import run, streams

def client():
    from missions_client import Client, Retry
    return Client(os.environ["API"], retry=Retry(attempts=1), timeout=5)

streams.prepare()
options = json.loads(sys.argv[1])
for name in [each for each in options if each.isupper()]:
    setattr(run, name, options.pop(name))
sys.exit(run.main(sys.argv[2:], client=client, url=os.environ["API"], **{"name": "Deploy v2"} | options))
"""
NOBODY = "http://127.0.0.1:9"  # nothing answers at this port


class Ended:
    """A run that has ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out
        self.err = err.decode(errors="surrogateescape")

    @property
    def said(self) -> list[str]:
        """What it said by itself."""
        return [line for line in self.err.splitlines() if line.startswith("missions: ")]


@contextmanager
def started(url: str, *command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A run of this command; it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(options), *command],
        env=os.environ | {"API": url, "PYTHONPATH": str(ROOT / "client")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            process.kill()
        process.communicate(timeout=10)


def end_of(process: subprocess.Popen[bytes], within: float = 30) -> Ended:
    out, err = process.communicate(timeout=within)
    return Ended(process.returncode, out, err)


def run(url: str, *command: str, within: float = 30, **options: Any) -> Ended:
    with started(url, *command, **options) as process:
        return end_of(process, within)


def shell(url: str, script: str, **options: Any) -> Ended:
    return run(url, "/bin/sh", "-c", script, **options)


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    """What the command wrote first: it runs now, with its traps."""
    assert process.stdout
    assert select.select([process.stdout], [], [], 20)[0]
    return os.read(process.stdout.fileno(), 1000)


def eventually(holds: Callable[[], Any], within: float = 20) -> Any:
    until = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < until, "this did not happen"
        time.sleep(0.02)
    return found


def messages(double: Double) -> list[str]:
    return [each["message"] for each in double.entries]


def until(folder: Path) -> str:
    """A piece of a script that waits until the test makes the file `go`."""
    return f"while [ ! -e {folder}/go ]; do sleep 0.05; done"


def seen(double: Double, last: str) -> list[Asked]:
    """Requests whose path ends like this."""
    return [each for each in list(double.asked) if each.path.endswith(last)]


def only_for(last: str, step: Step) -> Callable[[Asked], Step | None]:
    return lambda asked: step if asked.path.endswith(last) else None


# --- The command is not changed ---


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_is_that_of_the_command(double: Double, code: int) -> None:
    assert shell(double.url, f"exit {code}").code == code
    assert double.mission["status"] == ("FAILED" if code else "COMPLETED")


def test_the_output_goes_on_byte_for_byte(double: Double) -> None:
    script = r"printf 'a\000b\377\r\n\033[1mc'; printf 'd\200' >&2"
    ended = shell(double.url, script)
    assert ended.out == b"a\x00b\xff\r\n\x1b[1mc"
    assert ended.err == "d\udc80"
    assert sorted(messages(double)) == ["\x1b[1mc", "a␀b�", "d�"]


def test_output_goes_on_at_once_before_its_line_ends(double: Double) -> None:
    with started(double.url, "/bin/sh", "-c", "printf 'Password: '; sleep 30") as process:
        assert first_line(process) == b"Password: "


def test_standard_input_is_that_of_the_command(double: Double) -> None:
    process = subprocess.run(
        [sys.executable, "-c", RUN, "{}", "cat"],
        env=os.environ | {"API": double.url, "PYTHONPATH": str(ROOT / "client")},
        input=b"typed\n",
        capture_output=True,
        timeout=30,
    )
    assert (process.returncode, process.stdout) == (0, b"typed\n")
    assert messages(double) == ["typed"]


def test_the_command_is_told_its_mission_and_the_api(double: Double) -> None:
    ended = shell(double.url, "echo $MISSION_ID $MISSIONS_URL")
    assert ended.out.decode().split() == [double.mission["id"], double.url]


def test_a_command_that_does_not_exist_gives_127_and_a_failed_mission(double: Double) -> None:
    ended = run(double.url, "no-such-command")
    assert ended.code == 127
    assert ended.said == ["missions: no-such-command: not found"]
    assert (double.mission["status"], double.mission["reason"]) == ("FAILED", "no-such-command: not found")


@pytest.mark.parametrize("name", ["", "no-such-\udcff"])
def test_a_strange_name_of_a_command_gives_127(double: Double, name: str) -> None:
    ended = run(double.url, name)
    assert (ended.code, len(ended.said)) == (127, 1)
    assert double.mission["status"] == "FAILED"


def test_a_command_whose_output_finds_no_room_goes_on(double: Double, tmp_path: Path) -> None:
    environment = os.environ | {"API": double.url, "PYTHONPATH": str(ROOT / "client"), "RUN": RUN}
    script = f'exec {sys.executable} -c "$RUN" "{{}}" /bin/sh -c "echo 1; sleep 0.5; echo 2; exit 5" > /dev/full'
    assert subprocess.run(["/bin/sh", "-c", script], env=environment, timeout=30).returncode == 5
    assert messages(double) == ["1", "2"]


def test_a_signal_ends_it_although_nobody_reads_its_output(double: Double) -> None:
    with started(double.url, "/bin/sh", "-c", "yes | head -c 3000000; exit 3", HELD_OPEN=0.3) as process:
        eventually(lambda: double.mission["status"] == "RUNNING")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_a_command_that_cannot_be_executed_gives_126_and_a_failed_mission(double: Double, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert run(double.url, str(tmp_path / "script")).code == 126
    assert double.mission["reason"] == f"{tmp_path}/script: Permission denied"
    assert run(double.url, str(tmp_path)).code == 126


def test_a_script_without_an_interpreter_line_runs_as_in_a_shell(double: Double, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo $1; exit 4\n")
    (tmp_path / "script").chmod(0o755)
    ended = run(double.url, str(tmp_path / "script"), "given")
    assert (ended.code, ended.out) == (4, b"given\n")


def test_a_command_whose_reader_is_gone_gets_sigpipe_as_without_us(double: Double) -> None:
    with started(double.url, "yes") as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(20) == 128 + signal.SIGPIPE
    assert double.mission["status"] == "FAILED"


def test_output_is_complete_although_its_reader_is_slow(double: Double) -> None:
    with started(double.url, "head", "-c", "150000", "/dev/zero") as process:
        assert process.stdout
        eventually(lambda: seen(double, "/missions"))
        time.sleep(1.5)  # longer than what others may hold it open
        assert len(end_of(process).out) == 150_000


def test_a_process_that_stays_behind_does_not_hold_it_up(double: Double) -> None:
    begin = time.monotonic()
    ended = shell(double.url, "sleep 20 & echo begun")
    assert time.monotonic() - begin < 10
    assert (ended.code, ended.out) == (0, b"begun\n")
    assert messages(double) == ["begun"]


def test_a_process_that_stays_behind_and_writes_all_the_time_does_not_hold_it_up() -> None:
    begin = time.monotonic()
    with started(NOBODY, "/bin/sh", "-c", "yes & yes & yes & echo begun >&2", flush=0.5, HELD_OPEN=0.2) as process:
        assert process.stdout
        while os.read(process.stdout.fileno(), 1 << 16):
            assert time.monotonic() - begin < 8
        assert process.wait(20) == 0


def test_a_command_that_closes_its_output_early_is_waited_for(double: Double) -> None:
    ended = shell(double.url, "echo out; exec >&- 2>&-; sleep 0.5; exit 7")
    assert (ended.code, ended.out) == (7, b"out\n")


def test_a_run_whose_own_output_is_closed_still_reports(double: Double) -> None:
    environment = os.environ | {"API": double.url, "PYTHONPATH": str(ROOT / "client"), "RUN": RUN}
    script = f'exec {sys.executable} -c "$RUN" "{{}}" /bin/sh -c "echo out; sleep 2; echo more; exit 5" <&- >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", script], env=environment, timeout=30).returncode == 5
    assert messages(double) == ["out", "more"]


# --- What is reported ---


def test_a_run_is_a_mission_with_its_output_as_log(stack: str, client: Client, tag: str) -> None:
    script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; printf three; exit 3"
    ended = shell(stack, script, tags=[tag], timeout=900)
    assert (ended.code, ended.out, ended.err) == (3, b"one\nthree", "two\n")
    mission = only_mission(client, tag)
    assert (mission.name, mission.status) == ("Deploy v2", "FAILED")
    assert (mission.timeout, mission.heartbeat_timeout) == (900, 60)
    assert mission.reason == "The command ended with exit code 3. The last lines:\none\ntwo\nthree"
    assert logged(client, mission) == [
        ("info", "Mission created"),
        ("info", "Mission status changed"),
        ("info", "one"),
        ("warning", "two"),
        ("info", "three"),
        ("info", "Mission status changed"),
    ]


def only_mission(client: Client, tag: str) -> Mission:
    (mission,) = client.list(tags=[tag])
    return mission


def logged(client: Client, mission: Mission) -> list[tuple[str, str]]:
    return [(each.level, each.message) for each in client.read_log(mission.id)]


def test_a_worker_that_takes_any_mission_does_not_get_one_that_is_about_to_start(double: Double) -> None:
    assert shell(double.url, "true").code == 0
    created = seen(double, "/missions")[0].json
    assert created["not_before"] > time.time() + 3600


def test_a_reason_has_at_most_1000_characters_and_the_last_lines_count(double: Double) -> None:
    script = "for n in $(seq 500); do echo line $n; done; printf 'bad \\377\\000'; exit 1"
    assert shell(double.url, script).code == 1
    reason = double.mission["reason"]
    assert reason.startswith("The command ended with exit code 1. The last lines:\nline 482\n")
    assert reason.endswith("line 500\nbad �␀")
    long = "head -c 100000 /dev/zero | tr '\\0' x; exit 1"
    assert shell(double.url, long).code == 1
    assert 950 < len(double.mission["reason"]) <= 1000


def test_of_a_progress_bar_only_what_is_shown_last_is_logged() -> None:
    lines = Lines()
    found = [each for part in (b" 1%\r 50", b"%\r", b"100%\r", b"\nnext\r\n\n", b"a\rb") for each in lines.cut(part)]
    assert found + lines.end() == [b"100%", b"next", b"", b"b"]


def test_a_progress_bar_without_end_takes_no_memory() -> None:
    lines = Lines()
    for number in range(10_000):
        assert lines.cut(f"{number} of 10000\r".encode()) == []
    assert len(lines._rest) < 100
    assert lines.end() == [b"9999 of 10000"]


def test_a_line_that_is_too_long_is_cut_between_characters(double: Double) -> None:
    lines = Lines()
    found = lines.cut("xä".encode() + "ä".encode() * 10_000) + lines.end()
    assert [len(each) for each in found] == [8191, 8192, 20_003 - 8191 - 8192]
    assert b"".join(found).decode() == "xä" + "ä" * 10_000
    script = f"{sys.executable} -c \"print('x' + 'ä' * 100_000)\""
    assert shell(double.url, script).code == 0
    assert "".join(messages(double)) == "x" + "ä" * 100_000


def test_heartbeats_are_sent_while_the_command_is_silent(double: Double) -> None:
    with started(double.url, "sleep", "30", HEARTBEAT=0.4):
        eventually(lambda: len(seen(double, "/heartbeat")) >= 3)


def test_lines_are_sent_in_batches_and_soon(double: Double) -> None:
    script = "for n in $(seq 40); do echo $n; sleep 0.02; done; sleep 30"
    with started(double.url, "/bin/sh", "-c", script):
        eventually(lambda: len(double.entries) == 40, within=10)
    assert len(seen(double, "/log")) <= 6


def test_100000_lines_are_delivered_in_order_and_in_bounded_memory(double: Double) -> None:
    with started(double.url, "seq", "100000") as process:
        most = 0
        process_seen = psutil.Process(process.pid)
        assert process.stdout
        out = b""
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            out += chunk
            with suppress(psutil.NoSuchProcess):
                most = max(most, process_seen.memory_info().rss)
        process.wait(60)
        assert process.returncode == 0
    assert out.splitlines() == [str(number).encode() for number in range(1, 100_001)]
    assert messages(double) == [str(number) for number in range(1, 100_001)]
    assert most < 100 * 1024 * 1024
    assert double.mission["status"] == "COMPLETED"


# --- The API is away, or refuses ---


def test_the_command_starts_and_ends_without_the_api(tmp_path: Path) -> None:
    begin = time.monotonic()
    with started(NOBODY, "/bin/sh", "-c", f"echo begun; sleep 1; date > {tmp_path}/done", flush=3) as process:
        assert first_line(process) == b"begun\n"
        eventually((tmp_path / "done").exists)
        ended = end_of(process)
    assert ended.code == 0
    assert 3 < time.monotonic() - begin < 15
    assert len(ended.said) == 2
    assert ended.said[0].startswith(f"missions: The API at {NOBODY} does not answer")
    assert ended.said[1] == "missions: 1 line and the outcome (COMPLETED) could not be delivered."


def test_nothing_is_lost_or_doubled_when_the_api_breaks_again_and_again(double: Double) -> None:
    away: list[Step | None] = [Break(), BUSY, Break(effect=True), Say(502, b"<html>"), None]
    away.append(Say(500, {"message": "Internal Server Error"}, effect=True))
    seen_so_far = iter(range(1_000_000))
    double.rule = lambda asked: away[next(seen_so_far) % 6] if "heartbeat" not in asked.path else None
    script = "seq 1 120; sleep 0.7; seq 121 240; exit 2"
    ended = shell(double.url, script, PAUSE=0.05)
    assert ended.code == 2
    assert messages(double) == [str(number) for number in range(1, 241)]
    assert double.mission["status"] == "FAILED"
    assert [line for line in ended.said if "delivered" in line] == []


def test_what_was_written_while_the_api_was_away_is_sent_later(double: Double) -> None:
    away = True
    double.rule = lambda asked: Break() if away else None
    script = "seq 1 1000; sleep 2; echo end"
    with started(double.url, "/bin/sh", "-c", script, PAUSE=0.2) as process:
        eventually(lambda: len(double.asked) > 3)
        away = False
        ended = end_of(process)
    assert ended.code == 0
    assert messages(double) == [*(str(number) for number in range(1, 1001)), "end"]
    assert double.mission["status"] == "COMPLETED"
    assert len(ended.said) == 1


def test_the_outcome_is_reported_although_there_was_no_time_for_all_lines(double: Double) -> None:
    double.rule = only_for("/log", Wait(0.4))
    ended = run(double.url, "seq", "5000", flush=4)
    assert ended.code == 0
    assert double.mission["status"] == "COMPLETED"
    *sent, note = messages(double)
    missing = int(note.split()[3].replace(",", ""))
    assert sent == [str(number) for number in range(1, 5001 - missing)]
    assert note == f"Left out here: {missing:,} lines that could not be sent in time"
    assert ended.said == [f"missions: {missing:,} lines could not be delivered."]


def test_ctrl_c_ends_the_waiting_for_the_api() -> None:
    with started(NOBODY, "/bin/sh", "-c", "echo out; exit 4") as process:
        first_line(process)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        ended = end_of(process, within=5)
    assert ended.code == 4
    assert ended.said[-1] == "missions: 1 line and the outcome (FAILED) could not be delivered."


def test_a_sign_in_that_fails_for_a_while_loses_nothing(double: Double, tmp_path: Path) -> None:
    refusals = [Say(401, {"message": "Unauthorized"}), Say(404, {"message": "no backend"})]
    double.rule = lambda asked: refusals.pop() if asked.path.endswith("/log") and refusals else None
    assert shell(double.url, "echo one; sleep 1; echo two", PAUSE=0.1).code == 0
    assert messages(double) == ["one", "two"]
    assert double.mission["status"] == "COMPLETED"


def test_heartbeats_and_a_cancellation_are_not_held_up_by_lines_that_are_not_taken(double: Double) -> None:
    double.rule = lambda asked: Say(500, {"message": "x"}) if asked.path.endswith("/log") else None
    with started(double.url, "/bin/sh", "-c", "echo one; sleep 30", HEARTBEAT=0.3, PAUSE=0.1, flush=1) as process:
        eventually(lambda: len(seen(double, "/heartbeat")) >= 3)
        double.mission |= {"status": "CANCELLED", "reason": "\x1b[2Jhostile\nmissions: all is well"}
        ended = end_of(process, within=15)
    assert ended.code == 128 + signal.SIGTERM
    assert any("CANCELLED (?[2Jhostile missions: all is well)" in each for each in ended.said)
    assert "\x1b" not in ended.err


def test_a_long_retry_after_is_not_waited_for_to_its_end(double: Double) -> None:
    asked_for = [Say(503, {"code": "store_unavailable", "detail": "No."}, {"Retry-After": "30"})]
    double.rule = lambda asked: asked_for.pop() if asked.path.endswith("/log") and asked_for else None
    begin = time.monotonic()
    assert shell(double.url, "echo one", HEARTBEAT=0.5, flush=10).code == 0
    assert time.monotonic() - begin < 8
    assert messages(double) == ["one"]


def test_a_command_that_completes_its_own_mission_runs_on(double: Double) -> None:
    with started(double.url, "/bin/sh", "-c", "echo begun; sleep 2; exit 3", HEARTBEAT=0.3) as process:
        first_line(process)
        eventually(lambda: double.mission["status"] == "RUNNING")
        double.mission |= {"status": "COMPLETED"}
        ended = end_of(process)
    assert ended.code == 3
    assert ended.said == [
        "missions: the mission is COMPLETED already. The command runs on; its outcome is not reported."
    ]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Say(401, {"message": "Unauthorized"}), "refused the sign-in (401: Unauthorized)"),
        (problem(403, "forbidden", "The token names no namespace."), "refused the sign-in (403"),
        (problem(422, "validation_failed", "name: must not be blank"), "name: must not be blank."),
        (Say(200, b"<html>", {"Content-Type": "text/html"}), "Is the URL right?"),
    ],
)
def test_an_api_that_refuses_does_not_touch_the_command(double: Double, refusal: Say, said: str) -> None:
    double.rule = lambda asked: refusal
    begin = time.monotonic()
    ended = shell(double.url, "sleep 1; echo out; exit 6")
    assert time.monotonic() - begin < 10
    assert (ended.code, ended.out) == (6, b"out\n")
    assert len(ended.said) == 1
    assert said in ended.said[0]


def test_lines_that_the_api_refuses_do_not_hold_up_the_others(double: Double, tmp_path: Path) -> None:
    refusals = [problem(422, "validation_failed", "no")]
    double.rule = lambda asked: refusals.pop() if asked.path.endswith("/log") and refusals else None
    with started(double.url, "/bin/sh", "-c", f"echo one; {until(tmp_path)}; echo two") as process:
        eventually(lambda: not refusals)
        (tmp_path / "go").touch()
        ended = end_of(process)
    assert ended.code == 0
    assert messages(double) == ["two"]
    assert double.mission["status"] == "COMPLETED"
    assert ended.said == ["missions: no. Not in the log: 1 line.", "missions: 1 line could not be delivered."]


def test_an_error_in_making_the_client_does_not_touch_the_command() -> None:
    ended = shell("not a URL", "echo out; exit 6")
    assert (ended.code, ended.out) == (6, b"out\n")
    assert len(ended.said) == 1
    assert "no URL of an API" in ended.said[0]


# --- strict ---


def test_strict_does_not_start_the_command_unless_the_mission_is_started(double: Double, tmp_path: Path) -> None:
    double.rule = only_for("/status", Say(403, {"message": "Forbidden"}))
    ended = run(double.url, "touch", str(tmp_path / "done"), strict=True)
    assert ended.code == 125
    assert ["sign-in" in each for each in ended.said] == [True, False]
    ended = run(NOBODY, "touch", str(tmp_path / "done"), strict=True, flush=1)
    assert ended.code == 125
    assert "not started" in ended.said[-1]
    assert not (tmp_path / "done").exists()


def test_strict_starts_the_command_after_its_mission(stack: str, client: Client, tag: str) -> None:
    script = "import os; from missions_client import Client; print(Client().get(os.environ['MISSION_ID']).status)"
    ended = run(stack, sys.executable, "-c", script, strict=True, tags=[tag])
    assert (ended.code, ended.out) == (0, b"RUNNING\n")
    assert only_mission(client, tag).status == "COMPLETED"


def test_strict_gives_125_if_a_success_could_not_be_reported(double: Double) -> None:
    with started(double.url, "sleep", "2", strict=True, flush=1) as process:
        eventually(lambda: seen(double, "/status"))
        time.sleep(0.3)
        double.rule = lambda asked: Break()
        assert end_of(process).code == 125
    double.rule = lambda asked: None
    assert shell(double.url, "exit 9", strict=True).code == 9


def test_strict_can_be_interrupted_before_the_command_starts(tmp_path: Path) -> None:
    with started(NOBODY, "touch", str(tmp_path / "done"), strict=True) as process:
        assert process.stderr
        assert b"does not answer" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert end_of(process, within=5).code == 128 + signal.SIGTERM
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("refused", [problem(409, "transition_refused"), BUSY])
def test_strict_cancels_a_mission_whose_command_it_does_not_start(refused: Say, double: Double, tmp_path: Path) -> None:
    double.rule = lambda asked: refused if (asked.key or "").endswith("/start") else None
    ended = run(double.url, "touch", str(tmp_path / "done"), strict=True, flush=1)
    assert ended.code == 125
    assert (double.mission["status"], double.mission["reason"]) == ("CANCELLED", "The command was not started.")
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("late", ["/create", "/start"])
def test_strict_cancels_a_mission_although_an_answer_comes_late(late: str, double: Double, tmp_path: Path) -> None:
    double.rule = lambda asked: Wait(3) if (asked.key or "").endswith(late) else None
    with started(double.url, "touch", str(tmp_path / "done"), strict=True) as process:
        eventually(lambda: [each for each in double.asked if (each.key or "").endswith(late)])
        process.send_signal(signal.SIGTERM)
        ended = end_of(process, within=10)
    assert (ended.code, ended.said) == (128 + signal.SIGTERM, [])
    assert double.mission["status"] == "CANCELLED"
    assert not (tmp_path / "done").exists()


def test_strict_cancels_a_mission_at_the_second_attempt(double: Double, tmp_path: Path) -> None:
    double.rule = lambda asked: BUSY if len(seen(double, "/status")) < 4 and asked.path.endswith("/status") else None
    assert run(double.url, "touch", str(tmp_path / "done"), strict=True, flush=1).code == 125
    assert double.mission["status"] == "CANCELLED"


def test_strict_says_which_mission_it_could_not_cancel(double: Double, tmp_path: Path) -> None:
    double.rule = only_for("/status", BUSY)
    ended = run(double.url, "touch", str(tmp_path / "done"), strict=True, flush=1, FOR_CANCEL=1)
    assert ended.code == 125
    assert ended.said[-1].endswith(f"could not be cancelled. Do that later: missions cancel {double.mission['id']}")


def test_strict_cancels_its_mission_when_a_signal_comes_before_the_command(double: Double, tmp_path: Path) -> None:
    double.rule = lambda asked: BUSY if (asked.key or "").endswith("/start") else None
    with started(double.url, "touch", str(tmp_path / "done"), strict=True) as process:
        eventually(lambda: seen(double, "/status"))
        process.send_signal(signal.SIGTERM)
        assert end_of(process, within=8).code == 128 + signal.SIGTERM
    assert double.mission["status"] == "CANCELLED"
    assert not (tmp_path / "done").exists()


# --- Signals ---

BASH = "/bin/bash"  # dash ignores a signal that comes at the moment when it starts a program
TRAPS = 'for s in TERM HUP INT QUIT USR1 USR2; do trap "echo got $s" $s; done; echo ready; '


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"])
def test_signals_are_passed_on_once(double: Double, name: str) -> None:
    script = TRAPS + "n=0; while [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done; exit 5"
    with started(double.url, BASH, "-c", script) as process:
        assert first_line(process) == b"ready\n"
        process.send_signal(signal.Signals[f"SIG{name}"])
        ended = end_of(process)
    assert (ended.code, ended.out) == (5, f"got {name}\n".encode())
    assert double.mission["status"] == "FAILED"


@pytest.mark.parametrize("name", ["TERM", "INT", "KILL"])
def test_a_command_that_a_signal_ended_gives_128_and_more_and_a_failed_mission(double: Double, name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    with started(double.url, "/bin/sh", "-c", "echo ready; exec sleep 30") as process:
        first_line(process)
        if name == "KILL":
            eventually(lambda: psutil.Process(process.pid).children())[0].kill()
        else:
            process.send_signal(number)
        assert end_of(process).code == 128 + number
    assert double.mission["status"] == "FAILED"
    assert double.mission["reason"].startswith(f"The command was ended by signal {number} (")


def test_a_signal_that_was_ignored_stays_ignored_also_after_the_command(double: Double) -> None:
    double.rule = lambda asked: Break()
    environment = os.environ | {"API": double.url, "PYTHONPATH": str(ROOT / "client"), "RUN": RUN}
    script = f'trap "" HUP; exec {sys.executable} -c "$RUN" "{{}}" /bin/sh -c "echo ready; sleep 1; echo end"'
    with subprocess.Popen(["/bin/sh", "-c", script], env=environment, stdout=subprocess.PIPE) as process:
        first_line(process)
        process.send_signal(signal.SIGHUP)
        assert first_line(process) == b"end\n"
        time.sleep(1.5)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        double.rule = lambda asked: None
        assert process.wait(20) == 0
    assert messages(double) == ["ready", "end"]


IN_SHELL = (sys.executable, "-c", RUN, "{}", BASH, "-c")


class Terminal:
    """A run in a terminal of its own, as its foreground process group."""

    def __init__(self, url: str, *command: str) -> None:
        self.pid, self.keys = pty.fork()
        if self.pid == 0:
            environment = os.environ | {"API": url, "PYTHONPATH": str(ROOT / "client"), "RUN": RUN}
            os.execvpe(command[0], command, environment)
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self.keys, keys.encode())

    def read_until(self, text: str, within: float = 20) -> None:
        until = time.monotonic() + within
        while text not in self.shown:
            assert time.monotonic() < until, self.shown
            if select.select([self.keys], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.keys, 1000).decode()
                except OSError:  # its end
                    assert text in self.shown, self.shown

    def code(self) -> int:
        until = time.monotonic() + 20
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                os.close(self.keys)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < until
            with suppress(OSError):
                if select.select([self.keys], [], [], 0.05)[0]:
                    self.shown += os.read(self.keys, 1000).decode()


def test_ctrl_c_in_a_terminal_reaches_the_command_once(double: Double) -> None:
    script = TRAPS + "n=0; while [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done; exit 5"
    terminal = Terminal(double.url, *IN_SHELL, script)
    terminal.read_until("ready")
    terminal.type("\x03")
    terminal.read_until("got INT")
    assert terminal.code() == 5
    assert terminal.shown.count("got INT") == 1
    assert double.mission["status"] == "FAILED"


def test_ctrl_c_in_a_terminal_that_ends_the_command_is_reported(double: Double) -> None:
    terminal = Terminal(double.url, *IN_SHELL, "echo ready; sleep 30")
    terminal.read_until("ready")
    terminal.type("\x03")
    assert terminal.code() == 130
    assert (double.mission["status"], messages(double)) == ("FAILED", ["ready"])


def test_kill_int_reaches_the_command_also_in_a_terminal(double: Double) -> None:
    terminal = Terminal(
        double.url, *IN_SHELL, "trap 'echo got INT; exit 8' INT; echo ready; while :; do sleep 0.1; done"
    )
    terminal.read_until("ready")
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.code() == 8


def test_ctrl_z_stops_both_and_they_can_go_on(double: Double) -> None:
    # Below a shell with job control: a terminal stops only a group that somebody can continue
    job = f"""{sys.executable} -c "$RUN" '{{}}' /bin/sh -c 'echo ready; sleep 1; echo finished'"""
    script = f"set -m; {job}; sleep 1.5; echo stopped; fg > /dev/null; echo rc=$?"
    terminal = Terminal(double.url, "bash", "--norc", "-c", script)
    terminal.read_until("ready")
    terminal.type("\x1a")
    terminal.read_until("stopped\r\n")
    assert "\nfinished" not in terminal.shown
    assert terminal.code() == 0
    assert re.search(r"\nfinished\r\n(.*\r\n)*rc=0\r\n", terminal.shown)
    assert double.mission["status"] == "COMPLETED"


def test_a_run_that_is_killed_leaves_a_mission_that_its_heartbeat_timeout_ends(double: Double) -> None:
    with started(double.url, "/bin/sh", "-c", "echo ready; while echo x; do sleep 0.1; done") as process:
        first_line(process)
        (command,) = psutil.Process(process.pid).children()
        eventually(lambda: double.entries)
        process.kill()
        process.wait()
        assert double.mission["status"] == "RUNNING"
        assert double.mission["heartbeat_timeout"] == 60
        command.wait(10)  # it had SIGPIPE


# --- Ended by somebody else ---


def test_a_command_whose_mission_is_cancelled_is_stopped(stack: str, client: Client, tag: str) -> None:
    script = "trap 'echo stopping; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    with started(stack, "/bin/sh", "-c", script, tags=[tag], HEARTBEAT=0.3) as process:
        first_line(process)
        mission = eventually(lambda: next(iter(client.list(tags=[tag], status=["RUNNING"])), None))
        client.cancel(mission.id, reason="superseded")
        ended = end_of(process)
    assert ended.code == 7
    assert ended.said == ["missions: the mission was ended: CANCELLED (superseded). The command is stopped."]
    mission = only_mission(client, tag)
    assert (mission.status, mission.reason) == ("CANCELLED", "superseded")
    assert logged(client, mission)[-1] == ("info", "stopping")


def test_a_command_that_ignores_sigterm_is_killed(double: Double) -> None:
    with started(double.url, "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done",
                 HEARTBEAT=0.2, UNTIL_SIGKILL=1.0) as process:  # fmt: skip
        first_line(process)
        eventually(lambda: double.mission["status"] == "RUNNING")
        double.mission["status"] = "CANCELLED"
        assert end_of(process).code == 128 + signal.SIGKILL
    assert double.mission["status"] == "CANCELLED"


def test_a_command_whose_mission_was_removed_is_stopped(double: Double) -> None:
    with started(double.url, "sleep", "30", HEARTBEAT=0.2) as process:
        eventually(lambda: double.mission["status"] == "RUNNING")
        double.rule = lambda asked: problem(410, "mission_removed")
        ended = end_of(process)
    assert ended.code == 128 + signal.SIGTERM
    assert len(ended.said) == 1


def test_a_command_whose_mission_is_cancelled_before_its_start_is_stopped(double: Double) -> None:
    double.rule = only_for("/status", problem(409, "transition_refused", current_status="CANCELLED", reason="no"))
    assert run(double.url, "sleep", "30").code == 128 + signal.SIGTERM


def test_a_command_runs_on_if_only_the_heartbeats_did_not_arrive(double: Double, tmp_path: Path) -> None:
    with started(double.url, "/bin/sh", "-c", f"{until(tmp_path)}; echo end", HEARTBEAT=0.2) as process:
        eventually(lambda: double.mission["status"] == "RUNNING")
        double.mission |= {"status": "FAILED", "reason": "heartbeat_timeout: it showed no sign of life"}
        before = len(seen(double, "/heartbeat"))
        eventually(lambda: len(seen(double, "/heartbeat")) > before)
        time.sleep(0.5)
        (tmp_path / "go").touch()
        ended = end_of(process)
    assert (ended.code, ended.out) == (0, b"end\n")
    assert len(ended.said) == 1
    assert "The command runs on" in ended.said[0]
    assert messages(double) == ["end"]
    assert double.mission["status"] == "FAILED"


def test_an_outcome_that_comes_too_late_is_told(double: Double) -> None:
    def rule(asked: Asked) -> Step | None:
        late = asked.path.endswith("/status") and double.mission["status"] == "RUNNING"
        return problem(409, "transition_refused", current_status="CANCELLED") if late else None

    double.rule = rule
    ended = shell(double.url, "exit 0")
    assert ended.code == 0
    assert ended.said == ["missions: the mission was ended: CANCELLED. The command's outcome is not reported."]
    assert shell(double.url, "exit 0", strict=True).code == 125


# --- The real API is killed and started again ---


@contextmanager
def stack_on(folder: Path, ports: dict[str, str]) -> Iterator[str]:
    """`make run` in this folder; it is killed at the end, so that the next one goes on with what is kept."""
    paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers/missions")))}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.run"],
            cwd=folder,
            env=os.environ | paths | ports,
            stdout=output,
            stderr=output,
        )
        try:
            url = f"http://127.0.0.1:{ports['PORT']}"
            wait_until_ready(url)
            eventually(lambda: "Missions is ready" in (folder / "output").read_text(), within=60)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def test_nothing_is_lost_when_the_api_is_killed_in_the_middle(tmp_path: Path) -> None:
    ports = {name: str(unused_port()) for name in ("PORT", "EVENTS_PORT", "REDIS_PORT")}
    script = "n=0; while [ ! -e finish ]; do n=$((n+1)); echo $n; sleep 0.01; done; echo end"
    url = f"http://127.0.0.1:{ports['PORT']}"
    environment = os.environ | {"API": url, "PYTHONPATH": str(ROOT / "client")}
    with stack_on(tmp_path, ports):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps({"tags": ["test=killed"]}), "/bin/sh", "-c", script],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with Client(url) as client:
            eventually(lambda: [each for each in client.list(tags=["test=killed"]) if len(logged(client, each)) > 50])
        (front,) = (
            each for each in psutil.process_iter(["cmdline"])
            if "local.front" in (each.info["cmdline"] or []) and each.environ().get("PORT") == ports["PORT"]
        )  # fmt: skip
        front.kill()  # `make run` starts it again
        time.sleep(1)
    time.sleep(2)  # all of it is away
    with stack_on(tmp_path, ports):
        (tmp_path / "finish").touch()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        with Client(url) as client:
            mission = only_mission(client, "test=killed")
            found = [message for _, message in logged(client, mission)]
    assert mission.status == "COMPLETED"
    assert found[2:-1] == out.decode().splitlines()
    assert len(found) > 200
    assert re.fullmatch(r"[1-9]\d*", found[2])
