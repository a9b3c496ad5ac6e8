"""The command `missions`, as a person and as a program sees it, against `make run`."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from missions_client import Client

from local.processes import unused_port
from tests.client.api import Double, Say, problem

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from missions_client.cli import script; script()"]
PATIENCE = 30  # seconds
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the home folder, for this test alone, and nothing else in the environment."""
    for name in list(os.environ):
        if name.startswith(("MISSIONS_", "AWS_", "XDG_")) or name in ("NO_COLOR", "COLUMNS", "BROWSER"):
            monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), "TERM": "xterm-256color", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8",
                        "PYTHONPATH": str(ROOT / "client"), "AWS_EC2_METADATA_DISABLED": "true"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.fixture
def missions(home: Path, stack: str) -> Run:
    """Runs the command for the stack, as a program does: nothing is a terminal."""

    def run(*words: str, url: str = stack, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *words], env=os.environ | {"MISSIONS_URL": url} | environment, input=text,
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    return run


class Screen:
    """What a command wrote to a terminal, and its exit code."""

    def __init__(self, text: str, code: int) -> None:
        self.raw, self.code = text, code
        self.text = COLOUR.sub("", text)
        self.lines = self.text.splitlines()  # a terminal ends lines with \r\n


@pytest.fixture
def person(home: Path, stack: str) -> Callable[..., Screen]:
    """Runs the command for the stack in a terminal; gives it each key or signal when what is before it was shown."""

    def run(
        *words: str,
        columns: int = 80,
        keys: Sequence[tuple[str, str | signal.Signals]] = (),
        url: str = stack,
        **environment: str,
    ) -> Screen:
        child, terminal = pty.fork()
        if not child:
            os.execve(COMMAND[0], [*COMMAND, *words], os.environ | {"MISSIONS_URL": url} | environment)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        shown, waiting, until = b"", list(keys), time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if waiting and waiting[0][0].encode() in shown:
                _, key = waiting.pop(0)
                os.write(terminal, key.encode()) if isinstance(key, str) else os.kill(child, key)
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    chunk = os.read(terminal, 65536)
                except OSError:  # the end, on Linux
                    break
                if not chunk:
                    break
                shown += chunk
        else:
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(terminal)
        assert b"Traceback" not in shown
        return Screen(shown.decode(), code)

    return run


def cells(text: str) -> int:
    """How many cells of a terminal this takes; no text here has characters without a width."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def test_create_gives_a_program_the_id_and_nothing_else(missions: Run, client: Client) -> None:
    done = missions("create", "Build", "-t", "a=b", "--timeout", "15m", "--data", '{"n": 1}', "--deadline", "2h")
    made = client.get(done.stdout.strip())
    assert (made.name, made.tags, made.timeout, made.data) == ("Build", ["a=b"], 900, {"n": 1})
    assert made.deadline == pytest.approx(time.time() + 7200, abs=60)
    assert (done.stdout, done.stderr, done.returncode) == (f"{made.id}\n", "", 0)


def test_create_tells_a_person_what_to_do_next(person: Callable[..., Screen]) -> None:
    shown = person("create", "Build")
    made, hint = shown.lines
    assert UUID.fullmatch(made)
    assert hint == f"It waits for a worker. Follow it: missions watch {made[:8]}"


@pytest.mark.parametrize("way", ["a file", "standard input"])
def test_data_is_read_from(way: str, missions: Run, client: Client, home: Path) -> None:
    (home / "data.json").write_text('{"from": "é"}')
    given = "-" if way == "standard input" else f"@{home / 'data.json'}"
    done = missions("create", "Build", "--data", given, text='{"from": "é"}')
    assert client.get(done.stdout.strip()).data == {"from": "é"}


def test_json_is_what_the_api_answers(missions: Run, client: Client, tag: str) -> None:
    made = [client.create(f"Build {number}", tags=[tag]) for number in range(3)]
    lines = missions("list", "-t", tag, "--json", "-n", "2").stdout.splitlines()
    assert [json.loads(each)["id"] for each in lines] == [made[2].id, made[1].id]
    shown = json.loads(missions("--json", "show", made[0].id).stdout)
    assert (shown["version"], shown["tags"], shown["created_at"]) == (1, [tag], made[0].created_at)


@pytest.mark.parametrize("columns", [60, 100])
def test_a_list_fits_the_terminal_and_its_columns_are_aligned(
    columns: int, person: Callable[..., Screen], client: Client, tag: str
) -> None:
    client.create("日本語の名前はとても長いので切られます" * 3, tags=[tag])
    client.create("A plain name", tags=[tag])
    shown = person("list", "-t", tag, columns=columns)
    titles, *rows = shown.lines
    assert len(rows) == 2
    assert max(map(cells, shown.lines)) <= columns
    assert "…" in rows[1]
    starts = {cells(row[: row.index(text)]) for row, text in ((rows[0], "A plain"), (rows[1], "日本"))}
    assert starts == {titles.index("NAME")}
    assert {cells(row[: row.index(tag[:5])]) for row in rows} == {titles.index("TAGS")}


def test_a_list_for_a_program_is_whole_and_without_colours(missions: Run, client: Client, tag: str) -> None:
    made = client.create("n" * 200, tags=[tag])
    done = missions("list", "-t", tag)
    assert made.id in done.stdout
    assert "n" * 200 in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(
    environment: dict[str, str], coloured: bool, person: Callable[..., Screen], client: Client, tag: str
) -> None:
    client.create("Build", tags=[tag])
    shown = person("list", "-t", tag, **environment)
    assert ("\x1b[33mPENDING" in shown.raw, "\x1b" in shown.raw) == (coloured, coloured)


def test_what_callers_wrote_never_changes_the_terminal(person: Callable[..., Screen], client: Client, tag: str) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\u202e\x9b31m\r"
    made = client.create("Bidi \u202e", description=f"Text\n{evil}", data={"x": evil}, tags=[tag])
    client.start(made.id, reason=evil)
    client.log(made.id, f"{evil}\nsecond line")
    for words in (["list", "-t", tag], ["show", made.id], ["log", made.id]):
        shown = person(*words)
        assert not re.search("[\x1b\x07\x9b\u202e]|\r(?!\n)", shown.text), words
        assert "\\u202e" in shown.text
    *_, entry, second = shown.lines
    assert entry.endswith("info     \\x1b]0;title\\x07\\x1b[2J\\u202e\\x9b31m")
    assert second == " " * 30 + "second line"  # it cannot pass for an entry


def test_the_beginning_of_an_id_is_enough_once_it_was_listed(missions: Run, client: Client, tag: str) -> None:
    made = client.create("Build", tags=[tag])
    assert missions("show", made.id[:8]).returncode == 3
    missions("list", "-t", tag)
    assert made.id in missions("show", made.id[:8]).stdout


def test_an_ambiguous_beginning_is_refused_with_the_matches(missions: Run, client: Client, tag: str) -> None:
    begin = tag.removeprefix("test=")
    for end in ("-1", "-2"):
        client.create("Build", id=begin + end, tags=[tag])
    missions("list", "-t", tag)
    done = missions("fail", begin)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{begin}-2, {begin}-1" in done.stderr


def test_a_whole_id_is_meant_although_others_begin_like_it(missions: Run, client: Client, tag: str) -> None:
    begin = tag.removeprefix("test=")
    client.create("Longer", id=f"{begin}-1", tags=[tag])
    missions("list", "-t", tag)
    client.create("Whole", id=begin, tags=["elsewhere"])
    missions("cancel", begin)
    assert (client.get(begin).status, client.get(f"{begin}-1").status) == ("CANCELLED", "PENDING")


def test_the_shown_beginnings_tell_missions_apart(person: Callable[..., Screen], client: Client, tag: str) -> None:
    same = "0a0b0c0d-0000-4000-8000-"
    end = int(tag.removeprefix("test="), 16)
    for number in (end, end ^ 1):
        client.create("Build", id=f"{same}{number:012x}", tags=[tag])
    shown = [line.split()[0] for line in person("list", "-t", tag).lines[1:]]
    assert len(set(shown)) == 2
    assert all(len(each) == 36 for each in shown)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["show", "no-such"], 3, "There is no mission 'no-such'."),
        (["log", "no-such"], 3, "There is no mission 'no-such'."),
        (["watch", "no-such"], 3, "There is no mission 'no-such'."),
        (["create", "two\nlines"], 1, "name: must not contain control characters or line breaks"),
        (["claim", "-t", "no-such"], 3, "No mission waits"),
        (["list", "--colour"], 2, "--colour"),
        (["show"], 2, "Missing argument 'ID'. See: missions show --help"),
        (["lst"], 2, "No such command 'lst'. Did you mean list? See: missions --help"),
        (["list", "--since", "soon"], 2, "Invalid value for '--since': 'soon': it must be such as 2h"),
        (["list", "-s", "DONE"], 2, "'DONE' is none of PENDING, RUNNING"),
        (["create", "x", "--data", "[1]"], 2, "--data must be a JSON object"),
        (["create", "x", "--data", "@/no/such"], 2, "/no/such cannot be read"),
        (["cancel"], 2, "Give the ids of missions, or filters"),
        (["list", "--url", "ftp://x"], 2, "is no URL of an API"),
        (["list", "--context", "none"], 2, "There is no context 'none'"),
        (["list", "--profile", "none"], 2, "profile (none) could not be found"),
        (["lsit"], 2, "No such command 'lsit'. Did you mean list? See: missions --help"),
        (["frobnicate"], 2, "No such command 'frobnicate'. See: missions --help"),
        (["list", "--statsu", "x"], 2, "Did you mean --status? See: missions list --help"),
        (["show", "3f2a"], 3, "only if `missions list` or another command showed it here lately"),
        (["open", "nosuch"], 3, "nosuch"),
    ],
)
def test_a_mistake_is_told_in_one_line(words: list[str], code: int, told: str, missions: Run) -> None:
    done = missions(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert done.stderr.startswith("missions: ")
    assert told in done.stderr


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (Say(401, {"message": "Unauthorized"}), 4, "(401: Unauthorized). There was none"),
        (problem(403, "forbidden", "The token names no namespace."), 4, "The token names no namespace."),
        (Say(200, b"<html>", {"Content-Type": "text/html"}), 5, "is not JSON. Check the URL"),
        (Say(404, {"message": "Not Found"}), 5, "Check the URL"),
        (problem(410, "mission_removed", "Mission 'job' was removed."), 3, "Mission 'job' was removed."),
        (problem(409, "transition_refused", "It is FAILED."), 1, "It is FAILED."),
        (problem(500, "broken_record", "What the store has cannot be read."), 1, "cannot be read"),
        (problem(409, "mission_exists", "two\nlines \x1b[31m"), 1, "two lines ?[31m"),
    ],
)
def test_a_refusal_has_its_exit_code(answer: Say, code: int, told: str, missions: Run, double: Double) -> None:
    double.will(answer)
    done = missions("show", "job", url=double.url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert told in done.stderr


@pytest.mark.parametrize(
    ("environment", "words", "told"),
    [
        ({}, [], "There was none: give MISSIONS_TOKEN, --profile or --context."),
        ({"MISSIONS_TOKEN": "t"}, [], "It came from MISSIONS_TOKEN."),
        ({"MISSIONS_TOKEN": "t"}, ["--token", "u"], "It came from --token."),
    ],
)
def test_a_refused_sign_in_says_which_setting_it_came_from(
    environment: dict[str, str], words: list[str], told: str, missions: Run, double: Double
) -> None:
    double.will(Say(401, {"message": "Unauthorized"}), Say(401, {"message": "Unauthorized"}))
    done = missions("show", "job", *words, url=double.url, **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert done.stderr.endswith(f"{told}\n")


def test_what_cannot_be_written_is_told(client: Client, stack: str, home: Path) -> None:
    client.create("Build")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "list", "--url", stack], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "missions: The output could not be written: No space left on device.\n",
    )


def shell(script: str, url: str) -> subprocess.CompletedProcess[str]:
    """A script of bash, in which `m` is the command."""
    code = f"m() {{ '{COMMAND[0]}' -c '{COMMAND[2]}' \"$@\"; }}; {script}"
    return subprocess.run(["/bin/bash", "-c", code], env=os.environ | {"MISSIONS_URL": url}, capture_output=True,
                          text=True, timeout=PATIENCE)  # fmt: skip


def test_closed_streams_are_no_error(client: Client, stack: str, home: Path, tag: str) -> None:
    done = shell(f"m create Build -t {tag} >&-", stack)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (made,) = client.list(tags=[tag])
    done = shell(f"m log {made.id} - <&-; m show nosuch 2>&-", stack)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_an_error_that_cannot_be_written_keeps_its_exit_code(stack: str, home: Path) -> None:
    assert shell("m show nosuch 2>/dev/full", stack).returncode == 3


def test_nothing_is_lost_where_the_output_does_not_block(client: Client, stack: str, home: Path, tag: str) -> None:
    made = client.create("Build", tags=[tag])
    client.log_many(made.id, [("info", "x" * 8000)] * 40)  # more than a pipe holds
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen([*COMMAND, "log", made.id, "--json", "--url", stack], stdout=writing) as process:
        os.close(writing)
        time.sleep(2)
        with os.fdopen(reading, "rb") as read:
            assert len(read.read().splitlines()) == 41
    assert process.returncode == 0


def test_help_that_nobody_reads_ends_silently(stack: str, home: Path) -> None:
    done = shell("(sleep 0.5; m --help; echo $? >&2) | true", stack)
    assert done.stderr == "141\n"


def test_an_api_that_is_away_is_told_soon(missions: Run) -> None:
    began = time.monotonic()
    done = missions("list", url=f"http://127.0.0.1:{unused_port()}")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "does not answer" in done.stderr
    assert "--url" in done.stderr
    assert time.monotonic() - began < 10


def test_the_log_is_appended_to_and_read(missions: Run, client: Client) -> None:
    made = client.create("Build")
    missions("log", made.id, "first")
    missions("log", made.id, "two\nlines", "--level", "Error")
    assert [(each.level, each.message) for each in client.read_log(made.id)][1:] == [
        ("info", "first"),
        ("error", "two\nlines"),
    ]
    lines = missions("log", made.id).stdout.splitlines()
    assert [line[21:] for line in lines] == ["info     Mission created", "info     first", "error    two",
                                             "         lines"]  # fmt: skip
    assert missions("log", made.id, "-n", "1", "--json").stdout.count("\n") == 1
    assert "first" not in missions("log", made.id, "-l", "warning,error").stdout


def test_the_lines_of_standard_input_become_log_entries_when_they_come(client: Client, stack: str, home: Path) -> None:
    made = client.create("Build")
    command = [*COMMAND, "log", made.id, "-", "-l", "warning", "--url", stack]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"first\nsec")
        process.stdin.flush()
        until = time.monotonic() + PATIENCE
        while "first" not in (said := [each.message for each in client.read_log(made.id)]):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert "sec" not in said
        process.stdin.write(b"ond\n\nlast \xff")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert [(each.level, each.message) for each in client.read_log(made.id)][1:] == [
        ("warning", "first"), ("warning", "second"), ("warning", " "), ("warning", "last \ufffd"),
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 1)])
def test_watch_follows_a_mission_to_its_end(status: str, code: int, client: Client, stack: str, home: Path) -> None:
    made = client.create("Build")
    command = [*COMMAND, "watch", made.id, "--url", stack]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "Build is PENDING\n"
        assert process.stdout.readline().endswith("Mission created\n")
        client.start(made.id)
        client.log(made.id, "Half of it is done")
        client.set_status(made.id, status, reason="so it is")  # type: ignore[arg-type]
        rest = process.stdout.read().splitlines()
        assert process.wait(PATIENCE) == code
    assert [each.partition("  ")[2] for each in rest[:3]] == [
        "info     PENDING → RUNNING",
        "info     Half of it is done",
        f"info     RUNNING → {status} (reason so it is)",
    ]
    assert re.fullmatch(rf"Build is {status} after .* s \(so it is\)", rest[3])


def test_follow_goes_on_until_the_mission_ends(client: Client, stack: str, home: Path) -> None:
    made = client.create("Build")
    with subprocess.Popen(
        [*COMMAND, "log", "-f", made.id, "--url", stack], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline().endswith("Mission created\n")
        client.log(made.id, "new")
        assert process.stdout.readline().endswith("new\n")
        client.cancel(made.id)
        assert process.stdout.read().endswith("PENDING → CANCELLED\n")
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("key", "code"), [("\x03", 130), (signal.SIGTERM, 143)])
def test_watch_shows_the_list_as_it_is_now_until_ctrl_c_or_sigterm(
    key: str | signal.Signals, code: int, person: Callable[..., Screen], client: Client, tag: str
) -> None:
    made = client.create("Build", tags=[tag])
    client.start(made.id)
    shown = person("watch", "-t", tag, keys=[("RUNNING", key)])
    assert shown.code == code
    assert shown.raw.startswith("\x1b[?1049h\x1b[?25l")  # another screen, and no cursor
    assert "\x1b[?25h\x1b[?1049l" in shown.raw  # both are undone


def test_watch_tells_a_program_each_change_of_the_list(client: Client, stack: str, home: Path, tag: str) -> None:
    made = client.create("Build", tags=[tag])
    command = [*COMMAND, "watch", "-t", tag, "--json", "--url", stack]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["status"] == "PENDING"
        client.start(made.id)
        assert json.loads(process.stdout.readline())["status"] == "RUNNING"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told.strip()) == (130, "")


@pytest.mark.parametrize(("answer", "code", "status"), [("y", 0, "CANCELLED"), ("n", 1, "PENDING")])
def test_cancel_by_filters_asks_before(
    answer: str, code: int, status: str, person: Callable[..., Screen], client: Client, tag: str
) -> None:
    made = [client.create("Build", tags=[tag]) for _ in range(2)]
    shown = person("cancel", "-t", tag, keys=[("[y/N]", f"{answer}\r")])
    assert "Cancel 2 missions (2 PENDING)? [y/N]" in shown.text
    assert shown.code == code
    assert {client.get(each.id).status for each in made} == {status}


def test_cancel_by_filters_does_nothing_where_nobody_can_answer(missions: Run, client: Client, tag: str) -> None:
    made = client.create("Build", tags=[tag])
    done = missions("cancel", "-t", tag)
    assert (done.returncode, "Give --yes" in done.stderr, client.get(made.id).status) == (2, True, "PENDING")


def test_cancel_tells_what_became_of_each(missions: Run, client: Client) -> None:
    first, second = client.create("First"), client.create("Second")
    done = missions("cancel", first.id, "no-such", second.id, "-r", "superseded")
    assert done.stdout.splitlines() == [
        f"{first.id} is CANCELLED",
        f"{second.id} is CANCELLED",
    ]
    assert done.stderr == "missions: There is no mission 'no-such'.\n"
    assert (done.returncode, client.get(second.id).reason) == (3, "superseded")


def test_cancel_by_filters_takes_those_with_a_status(missions: Run, client: Client, tag: str) -> None:
    waits, runs = client.create("Waits", tags=[tag]), client.create("Runs", tags=[tag])
    client.start(runs.id)
    done = missions("cancel", "-t", tag, "-s", "running", "--yes", "--json")
    assert json.loads(done.stdout) == {"id": runs.id, "outcome": "cancelled", "detail": None}
    assert client.get(waits.id).status == "PENDING"


def test_a_mission_goes_through_its_life(missions: Run, client: Client, tag: str) -> None:
    made = client.create("Build", tags=[tag])
    assert missions("claim", "-t", tag, "--lease", "1m", "--worker", "me").stdout == f"{made.id}\n"
    claimed = client.get(made.id)
    assert (claimed.status, claimed.worker, claimed.heartbeat_timeout) == ("RUNNING", "me", 60)
    assert missions("fail", made.id, "--reason", "broken").stdout == f"{made.id} is FAILED\n"
    again = missions("retry", made.id).stdout.strip()
    assert client.get(again).retry_of == made.id
    assert missions("start", again).stdout == f"{again} is RUNNING\n"
    assert missions("complete", again, "--json").stdout.startswith('{"id": ')
    assert client.get(again).status == "COMPLETED"


def test_times_are_local_or_in_utc(missions: Run, client: Client) -> None:
    made = client.create("Build")
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(made.created_at + 9 * 3600))
    utc = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(made.created_at))
    assert f"created       {local} (" in missions("show", made.id).stdout
    assert f"created       {utc} (" in missions("show", made.id, "--utc").stdout


def test_run_ends_with_the_exit_code_of_the_command(missions: Run, client: Client, tag: str) -> None:
    done = missions("run", "-t", tag, "--name", "Failing", "--", "sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    (made,) = client.list(tags=[tag])
    assert (made.name, made.status) == ("Failing", "FAILED")


def test_stats_are_bars_for_people_and_json_for_programs(person: Callable[..., Screen], missions: Run) -> None:
    missions("create", "Build")
    shown = person("stats")
    assert any(re.fullmatch(r"  PENDING +\d+  █+[▏▎▍▌▋▊▉]?", each) for each in shown.lines)
    assert any(re.fullmatch(r"  created +\d+  [·▁▂▃▄▅▆▇█]{24,25}", each) for each in shown.lines)
    told = json.loads(missions("stats", "--days", "2", "--json").stdout)
    assert told["stats"]["by_status"]["PENDING"] >= 1
    assert (told["history"]["step"], len(told["history"]["history"])) == ("day", 2)


def test_outbox_counts_what_waits_on_this_machine(missions: Run) -> None:
    told = json.loads(missions("outbox", "--json").stdout)
    assert (told["dead"], set(told)) == (0, {"undelivered", "oldest_seconds", "dead"})
    assert "0 are dead\n" in missions("outbox").stdout


def test_outbox_shows_dead_entries_and_sends_them_again(missions: Run, double: Double) -> None:
    events = [{"type": "mission.created"}, {"type": "mission.started"}]
    entry = {"entry_id": "1795558652328-0", "namespace": "default", "error": "Malformed\x1b", "events": events}
    double.will(Say(200, {"entries": [entry], "cursor": None}))
    shown = missions("outbox", "list", url=double.url).stdout
    assert re.search(r"1795558652328-0 +default +\d+d +2: mission\.created mission\.started +Malformed\\x1b\n", shown)
    told = {"revived": 1, "published": 0, "died": 1, "left": 0, "ended": "all were tried"}
    double.will(Say(200, told))
    done = missions("outbox", "redeliver", "1795558652328-0", url=double.url)
    assert (done.returncode, "1 are dead again" in done.stdout) == (1, True)
    assert [each.json for each in double.asked] == [
        {"action": "list", "what": "dead", "limit": 50},
        {"action": "redeliver", "limit": 1000, "entry_ids": ["1795558652328-0"], "namespace": "default"},
    ]
    assert {each.headers["x-missions-console"] for each in double.asked} == {"missions"}


def test_outbox_elsewhere_needs_a_stack(missions: Run) -> None:
    done = missions("outbox", url="https://missions.example.com")
    assert (done.returncode, "--stack" in done.stderr) == (2, True)


def test_open_shows_the_page_of_a_mission(
    person: Callable[..., Screen], missions: Run, client: Client, stack: str, home: Path
) -> None:
    made = client.create("Build")
    browser = home / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {home}/opened\n')
    browser.chmod(0o700)
    address = f"{stack}/console#/missions/{made.id}"
    assert missions("open", made.id).stdout == f"{address}\n"
    assert address in person("open", made.id, BROWSER=f"{browser} %s", columns=200).text
    assert (home / "opened").read_text() == f"{address}\n"


def test_a_reader_that_goes_away_ends_it_silently(client: Client, stack: str, home: Path, tag: str) -> None:
    for _ in range(2):
        client.create("Build", tags=[tag])
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "list", "--url", stack], stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_what_the_locale_does_not_have_is_no_error(missions: Run, client: Client, tag: str) -> None:
    client.create("日本", tags=[tag])
    done = missions("list", "-t", tag, PYTHONIOENCODING="latin-1")
    assert (done.returncode, "\\u65e5\\u672c" in done.stdout) == (0, True)


def test_a_cache_that_cannot_be_written_is_no_error(missions: Run, client: Client, home: Path, tag: str) -> None:
    (home / "file").write_text("")
    client.create("Build", tags=[tag])
    assert missions("list", "-t", tag, XDG_CACHE_HOME=str(home / "file")).returncode == 0


@pytest.mark.parametrize(
    ("line", "found"), [("missions li", "list"), ("missions list --sta", "--status"), ("missions show {begin}", "{id}")]
)
def test_a_shell_completes(line: str, found: str, missions: Run, client: Client, tag: str) -> None:
    made = client.create("Build", tags=[tag])
    missions("list", "-t", tag)
    line, found = (each.format(begin=made.id[:8], id=made.id) for each in (line, found))
    done = missions(
        _MISSIONS_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split()) - 1)
    )  # fmt: skip
    assert found in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_printed(shell: str, missions: Run) -> None:
    assert f"_MISSIONS_COMPLETE={shell}_complete" in missions("completion", shell).stdout


@pytest.mark.parametrize(
    ("words", "not_loaded"),
    [
        (["--help"], ["httpx", "asyncio", "tomllib", "subprocess"]),
        (["list"], ["botocore", "asyncio", "http.server", "webbrowser", "tomllib", "missions_client.run"]),
    ],
)
def test_a_command_loads_only_what_it_uses(words: list[str], not_loaded: list[str], home: Path, stack: str) -> None:
    code = (
        "import sys; from missions_client.cli import main\n"
        f"try: main({words!r})\n"
        f"finally: print([each for each in {not_loaded!r} if each in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"MISSIONS_URL": stack}, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_worker_of_the_shell_shows_signs_of_life_and_learns_of_the_end(missions: Run, client: Client) -> None:
    made = client.create("Job")
    client.start(made.id)
    assert missions("heartbeat", made.id, "--progress", "0.5", "--note", "step 2").returncode == 0
    assert (client.get(made.id).progress, client.get(made.id).note) == (0.5, "step 2")
    client.cancel(made.id, reason="superseded")
    ended = missions("heartbeat", made.id)
    assert (ended.returncode, ended.stderr) == (1, f"missions: {made.id} is CANCELLED (superseded).\n")


def test_a_mission_that_has_ended_is_removed_and_another_one_is_not(missions: Run, client: Client) -> None:
    made = client.create("Job")
    assert missions("delete", made.id).returncode == 1
    client.cancel(made.id)
    assert missions("delete", made.id).returncode == 0
    assert missions("show", made.id).returncode == 3


def test_what_has_ended_is_cancelled_only_when_that_is_meant(missions: Run, client: Client) -> None:
    made = client.create("Job")
    client.start(made.id)
    client.fail(made.id, reason="disk full")
    refused = missions("cancel", made.id)
    assert refused.returncode == 1
    assert "is FAILED already; nothing was done" in refused.stderr
    assert client.get(made.id).reason == "disk full"
    waits = client.create("Waits")
    both = missions("cancel", made.id, waits.id)
    assert (both.returncode, both.stdout) == (1, f"{waits.id} is CANCELLED\n")
    assert client.get(made.id).status == "FAILED"
    assert missions("cancel", made.id, "--yes").returncode == 0
    assert client.get(made.id).status == "CANCELLED"
