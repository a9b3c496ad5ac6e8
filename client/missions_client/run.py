"""`missions run`: a command as a mission.

The command is not changed by being watched. It starts before anything is sent, has our standard input, and is in our
process group. What it writes goes on at once, byte for byte. Its exit code is ours. If the API is away, or refuses, one
line on standard error says so, and the command runs on (but see `strict` of `main`).

What the API gets, in this order: the creation, the start, the output, the outcome. One thread sends it, out of a
`Spool`, and repeats each request until it is answered. Each has an Idempotency-Key, so a repeat changes nothing.

- Output becomes log entries: standard output `info`, standard error `warning`. A line is sent within about half a
  second, in batches of up to 100. A last line without a line end counts. Of a line with carriage returns (a progress
  bar) only what comes after the last one is logged. A line of more than 8,192 bytes becomes several entries.
- A command whose output is a pipe may write in blocks, and without colours. That is its own choice, as with `| tee`.
- A heartbeat is sent every 10 seconds. Its answer says whether the mission was ended by somebody else: cancelled, or
  failed by a limit such as its `timeout`. Then the command gets SIGTERM, and SIGKILL after 10 more seconds. Only the
  command gets it, not the processes that it started: a shell script that should pass it on needs a `trap` or `exec`.
- If it was ended because no heartbeat arrived (`heartbeat_timeout`), the command runs on: the network was broken, or
  this computer slept, and that is not the command's fault. Its output is logged, but its outcome cannot be shown.
- SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the command. Ctrl-C and Ctrl-\\ of a terminal
  reach it anyway, and are not passed on again. After the command's end each of them, and Ctrl-C, ends the sending.
- If this process is killed by SIGKILL, nobody reports the outcome. The mission is then failed by its
  `heartbeat_timeout`, about a minute after that. The command gets SIGPIPE when it writes the next time.
- A process that the command has left behind may hold its output open. It has a second to write after the command's end.

The command finds the mission's id in MISSION_ID and the API in MISSIONS_URL. Without `strict`, the mission may be
created a moment after the command started.
"""

import errno
import itertools
import math
import os
import random
import select
import shutil
import signal
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from missions_client import text
from missions_client.errors import (
    ApiError,
    Broken,
    Busy,
    CannotSignIn,
    Conflict,
    Invalid,
    MissionsError,
    NotFound,
    Removed,
    SignInRefused,
    Unreachable,
    one_line,
    sentence,
)
from missions_client.spool import GAP, INFO, WARNING, Line, Spool, about_gap, counted

if TYPE_CHECKING:  # they take a tenth of a second to load; the command starts before
    from missions_client.models import Level, Status
    from missions_client.synchronous import Client

NOT_REPORTED, NOT_EXECUTABLE, NOT_FOUND, SIGNALLED = 125, 126, 127, 128  # exit codes, as those of a shell
BATCH = 100  # lines in one request, the API's limit
PATIENCE = 0.5  # seconds that a line waits for others
HEARTBEAT = 10.0  # seconds between two of them
PAUSE = 2.0  # seconds before a request is repeated, at most
UNTIL_SIGKILL = 10.0  # seconds that the command has after SIGTERM
FOR_CANCEL = 20.0  # seconds to cancel a mission whose command is not started; more than a request may take
HELD_OPEN = 1.0  # seconds that others have to write after the command's end
FOR_OUTCOME = 5.0  # seconds of `flush` that are kept for the outcome, at most
NOT_BEFORE = 86_400  # seconds; see Report._tell
CHUNK = 64 * 1024  # bytes read at once; also what a pipe holds
LAST_LINES = 20  # lines in the reason of a failure, as far as there is room
AGAIN = (Unreachable, Busy, Broken, SignInRefused, CannotSignIn)
LEVELS: "dict[bytes, Level]" = {INFO: "info", WARNING: "warning", GAP: "warning"}
PASSED_ON = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT}
SAME_SIGNAL = 0.5  # seconds; see Child.interrupt
REASON = 1000  # characters, the API's limit
SI_KERNEL = 0x80  # si_code of a signal that the terminal sent


def main(
    command: Sequence[str],
    *,
    client: Callable[[], "Client"],
    url: str,
    name: str,
    tags: Sequence[str] = (),
    timeout: int | None = None,
    heartbeat_timeout: int = 60,
    strict: bool = False,
    flush: float = 60.0,
    explain: Callable[[MissionsError], str] = str,
) -> int:
    """Run the command as a mission; the answer is the exit code for this process.

    It is the command's own code, or 128 + n if the signal n ended it, 126 if it cannot be executed, 127 if it was not
    found. `client` is called in another thread, after the command started; its Retry should have `attempts=1`, because
    requests are repeated here. `url` is what the command gets as MISSIONS_URL. `timeout` and `heartbeat_timeout` are
    those of the mission, in seconds. `explain` gives the words for an error.

    After the command's end it takes at most `flush` seconds to send what is left. Then one line on standard error says
    how many lines were not delivered. With `strict` the mission must be created and started before the command starts,
    within `flush` seconds; else it is cancelled, and the answer is 125. It is 125, too, if the command succeeded but
    that could not be reported.

    To be called from the main thread, as the last thing of a process: signals stay blocked. Standard streams must be
    open (streams.py).
    """
    passed_on = {each for each in PASSED_ON if signal.getsignal(each) is not signal.SIG_IGN}  # ignored: as by nohup
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)  # in all threads: one of them waits for signals
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it was ignored, no child could be waited for
    members = {"name": name, "tags": tags, "timeout": timeout, "heartbeat_timeout": heartbeat_timeout}
    child = Child()
    report = Report(client, members, child, flush, strict, explain)
    threading.Thread(target=pass_on, args=(passed_on, child, report), daemon=True).start()
    if strict:
        report.start()
        report.begun.wait(flush)
        if not (report.started or child.interrupted):
            if not report.over.is_set():
                say(f"the API did not answer within {flush:g} seconds. The command is not started.")
            report.withdraw()
            return NOT_REPORTED
    why, pumps = "", []
    try:
        outputs = child.start(command, os.environ | {"MISSION_ID": report.id, "MISSIONS_URL": url}, mask)
    except Interrupted:
        report.withdraw()
        return SIGNALLED + child.interrupted
    except (OSError, ValueError) as error:  # ValueError: an empty name
        known = isinstance(error, OSError) and error.errno != errno.ENOENT
        code = NOT_EXECUTABLE if known else NOT_FOUND
        why = f"{command[0] or repr('')}: {error.strerror if isinstance(error, OSError) and known else 'not found'}"
        say(why)
    else:
        for source, target, kind in zip(outputs, (1, 2), (INFO, WARNING), strict=True):
            pumps.append(threading.Thread(target=pump, args=(source, target, kind, child, report), daemon=True))
            pumps[-1].start()
    if not strict:
        report.start()
    if os.isatty(2):
        say(f"this is the mission {report.id}")
    if pumps:
        code = child.wait()
        # One that waits for whoever reads our output waits for ever, as the command would; a signal ends that
        until = time.monotonic() + 2 * HELD_OPEN
        while any(each.is_alive() for each in pumps) and not child.interrupted:
            if child.signalled and time.monotonic() > until:
                break
            for each in pumps:
                each.join(0.01)
        if code < 0:
            why, code = f"The command was ended by signal {-code} ({signal.strsignal(-code)}).", SIGNALLED - code
        elif code:
            why = f"The command ended with exit code {code}."
    report.finish("FAILED" if code else "COMPLETED", why)
    return NOT_REPORTED if strict and code == 0 and not report.told else code


class Interrupted(Exception):
    """A signal came before the command was started."""


class TimeIsUp(Exception):
    """What is left will not be sent."""


class Child:
    """The command. Other threads may send it signals."""

    def __init__(self) -> None:
        self.interrupted = 0  # the signal that came while no command ran
        self.interruptions = 0  # how many of them
        self.signalled = False  # one was passed on to it
        self._pid = 0
        self._ended_at = math.inf
        self._lock = threading.Lock()
        self.ended, self._end = os.pipe()  # `ended` becomes readable when it has ended

    def start(self, command: Sequence[str], environment: dict[str, str], mask: Iterable[int]) -> tuple[int, int]:
        """Start it with this signal mask; the answer is where its output and its errors are read. Raises OSError."""
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)]
        # Python ignores these two, which a command does not expect
        options: dict[str, Any] = {"setsigmask": mask, "setsigdef": (signal.SIGPIPE, signal.SIGXFSZ)}
        try:
            with self._lock:
                if self.interrupted:
                    raise Interrupted
                try:
                    self._pid = os.posix_spawnp(command[0], list(command), environment, file_actions=actions, **options)
                except OSError as error:
                    if error.errno != errno.ENOEXEC:
                        raise
                    # A script without "#!": shells run it by themselves
                    shell = ["/bin/sh", shutil.which(command[0]) or command[0], *command[1:]]
                    self._pid = os.posix_spawn(shell[0], shell, environment, file_actions=actions, **options)
        finally:
            os.close(out_end)
            os.close(err_end)
        return out, err

    def wait(self) -> int:
        """Its exit code; negative if a signal ended it."""
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)  # until it is waited for, nobody else has its number
        with self._lock:
            _, status = os.waitpid(self._pid, 0)
            self._ended_at = time.monotonic()
        os.close(self._end)
        return os.waitstatus_to_exitcode(status)

    @property
    def runs(self) -> bool:
        return bool(self._pid) and self._ended_at == math.inf

    def signal(self, number: int) -> bool:
        """Send it this signal; False if it does not run."""
        with self._lock:
            if self.runs:
                try:
                    os.kill(self._pid, number)
                except ProcessLookupError:
                    pass
                except PermissionError:
                    say("the command belongs to another user, and cannot be sent signals.")
            return self.runs

    def interrupt(self, number: int, has_it: bool) -> bool:
        """Pass a signal on, unless the command has it. True if it was for us, because no command runs.

        A signal that the whole group got may end the command before we see it, so it is not for us so early.
        """
        if self.runs and (has_it or self.signal(number)):
            self.signalled = True
            return False
        with self._lock:
            if time.monotonic() < self._ended_at + SAME_SIGNAL and self._pid:
                return False
            self.interrupted = number
            self.interruptions += 1
            return True

    def stop(self) -> bool:
        """SIGTERM, and SIGKILL later; False if it does not run."""
        later = threading.Timer(UNTIL_SIGKILL, self.signal, (signal.SIGKILL,))
        later.daemon = True
        later.start()
        return self.signal(signal.SIGTERM)


class Report(threading.Thread):
    """Tells the API about the mission."""

    def __init__(
        self, client: "Callable[[], Client]", members: dict[str, Any], child: Child, flush: float, strict: bool,
        explain: Callable[[MissionsError], str],
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self.id = str(uuid.uuid4())  # made here, so that the creation can be repeated
        self.begun = threading.Event()  # the mission is started, or will never be
        self.over = threading.Event()  # nothing more is sent
        self.started = False
        self.told = False  # the outcome was taken
        self._client = client
        self._members = members
        self._child = child
        self._flush = flush
        self._strict = strict
        self._explain = explain
        self._spool = Spool()
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._outcome: tuple[Status, str | None] = "COMPLETED", None
        self._until = math.inf  # when the sending ends
        self._unsure = 0  # lines that were sent and not taken
        self._complained = False  # somebody was told that the API does not answer
        self._refused = False
        self._ended = False  # somebody else ended the mission
        self._exists = False  # the mission, as far as is known
        self._withdrawn = False  # the command was not started, and the mission must be cancelled
        self._beat_at = math.inf  # when the next heartbeat is due

    def output(self, kind: bytes, lines: Sequence[bytes]) -> None:
        self._last.extend(lines)
        self._spool.add(kind, lines)

    def finish(self, status: "Status", why: str) -> None:
        """Send what is left and this outcome, as long as `flush` allows, and say what was not delivered."""
        if why and self._last:
            last = "\n".join(text.clean(line) for line in list(self._last)).strip()
            why = f"{why} The last lines:\n{last[-(REASON - len(why) - 20) :]}"
        self._outcome = status, text.reason(why) if why else None
        self._until = time.monotonic() + self._flush
        self._spool.close()
        self.over.wait(self._flush)
        self.over.set()
        lines = self._unsure + self._spool.waiting + self._spool.left_out
        missing = [counted(lines)] * bool(lines) + [f"the outcome ({status})"] * (not self.told and not self._ended)
        if missing and not self._refused:
            say(f"{' and '.join(missing)} could not be delivered.")

    def withdraw(self) -> None:
        """The command was not started: cancel the mission. A request may be on its way, so that can take a while.

        It ends at the next signal, too. If the API did not answer, one line says so.
        """
        interruptions, until = self._child.interruptions, time.monotonic() + FOR_CANCEL
        self._withdrawn = True
        self.over.set()
        self._spool.close()
        while self.is_alive() and time.monotonic() < until and self._child.interruptions == interruptions:
            self.join(0.1)
        if self._exists:
            say(f"the mission {self.id} could not be cancelled. Do that later: missions cancel {self.id}")

    def run(self) -> None:
        try:
            with self._client() as api:
                try:
                    self._tell(api)
                except (TimeIsUp, MissionsError):
                    if self._withdrawn or (self._strict and not self.started):
                        self._cancel(api)
                    raise
        except TimeIsUp:
            pass
        except Removed:
            self._was_ended("removed", None)
        except Exception as error:  # whatever it is, the command is not affected
            self._refuse(error)
        finally:
            self._spool.discard()
            self.begun.set()
            self.over.set()

    def _cancel(self, api: "Client") -> None:
        """Cancel the mission, if there may be one: an answer to its creation may have been lost."""
        self.over.clear()
        self._until = time.monotonic() + FOR_CANCEL
        if self._exists:
            reason = "The command was not started."
            with suppress(TimeIsUp, MissionsError):
                with suppress(NotFound):
                    self._repeat(api, lambda: api.cancel(self.id, reason=reason, key=f"{self.id}/cancel"))
                self._exists = False

    def _create(self, api: "Client", members: dict[str, Any]) -> None:
        import httpx

        try:
            api.create(**members, key=f"{self.id}/create")
        except Unreachable as error:
            self._exists |= not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
            raise
        except (Busy, Broken):
            self._exists = True
            raise
        self._exists = True

    def _tell(self, api: "Client") -> None:
        # A worker that claims any mission must not get this one before it is started here
        not_before = time.time() + NOT_BEFORE
        members = {"id": self.id, "not_before": not_before, **self._members}
        self._repeat(api, lambda: self._create(api, members))
        try:
            self._repeat(api, lambda: api.start(self.id, key=f"{self.id}/start"))
            self.started = True
        except Conflict as error:
            if not self._child.runs:
                raise
            self._was_ended(*status_of(error))
        self.begun.set()
        self._send_lines(api)
        status, reason = self._outcome
        if not self._ended:
            try:
                self._repeat(api, lambda: api.set_status(self.id, status, reason=reason, key=f"{self.id}/outcome"))
                self.told = True
            except Conflict as error:
                self._was_ended(*status_of(error))

    def _send_lines(self, api: "Client") -> None:
        """Send the output and heartbeats, until there is no more or the outcome must be sent."""
        kept = min(FOR_OUTCOME, self._flush / 4)
        self._beat_at = time.monotonic() + min(HEARTBEAT, self._members["heartbeat_timeout"] / 3)
        with suppress(TimeIsUp):
            for number in itertools.count():
                closed = self._spool.closed  # before the lines are taken: none come after it
                self._beat(api)
                lines = self._spool.take(BATCH, self._beat_at, PATIENCE)
                if lines:
                    self._deliver(api, lines, number, kept)
                elif closed:
                    return
        if self.over.is_set():
            raise TimeIsUp
        missing = self._unsure + self._spool.discard()
        self._deliver(api, [(GAP, about_gap(missing))], "end", 0)

    def _deliver(self, api: "Client", lines: Sequence[Line], number: object, kept: float) -> None:
        entries = [(LEVELS[kind], line.decode(errors="replace")) for kind, line in lines]
        count = sum(kind != GAP for kind, _ in lines)
        self._unsure += count
        try:
            self._repeat(api, lambda: api.log_many(self.id, entries, key=f"{self.id}/log/{number}"), kept)
            self._unsure -= count
        except (Invalid, Broken) as error:  # these lines only
            self._complain(f"{sentence(self._explain(error))} Not in the log: {counted(count)}.")

    def _beat(self, api: "Client") -> None:
        """If it is time for that, show that the command runs, and see whether it still should."""
        if time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + min(HEARTBEAT, self._members["heartbeat_timeout"] / 3)
        if not self._ended:
            with suppress(*AGAIN):  # the next one may arrive
                sign = api.heartbeat(self.id)
                if sign.status != "RUNNING":
                    self._was_ended(sign.status, sign.reason)

    def _repeat(self, api: "Client", call: Callable[[], object], kept: float = 0.0) -> None:
        """Repeat this until it is answered. Raises TimeIsUp `kept` seconds before the end, and what the API refused."""
        for failures in itertools.count(1):
            if self.over.is_set() or time.monotonic() >= self._until - kept:
                raise TimeIsUp
            try:
                call()
                return
            except MissionsError as error:
                if not self._again(error):
                    raise
                pause = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
                if failures == 2:
                    waits = self._strict and not self.started
                    what = "The command waits for it" if waits else "The command is not affected"
                    since = "" if waits else " after the command's end"
                    self._complain(
                        f"{sentence(self._explain(error))} {what}. It is tried again, at most {self._flush:g} s{since}."
                    )
            left = self._until - kept - time.monotonic()
            pause = min(pause, HEARTBEAT)  # it may be the last chance before the end
            self.over.wait(min(left, max(pause, random.uniform(PAUSE / 2, PAUSE))))  # noqa: S311
            self._beat(api)

    def _again(self, error: MissionsError) -> bool:
        """Whether a request that failed like this may be taken the next time.

        When the mission has started, the sign-in was good: a network that is away can keep a token from being renewed.
        A proxy may answer for the API for a while, too.
        """
        if isinstance(error, ApiError):
            foreign = error.code is None and (error.status >= 500 or self.started)
            return foreign or isinstance(error, Busy) or (self.started and isinstance(error, SignInRefused))
        return isinstance(error, Unreachable) or self.started

    def _was_ended(self, status: str, reason: str | None) -> None:
        self._ended = True
        how = f"{status} ({reason})" if reason else status
        if status == "FAILED" and (reason or "").startswith("heartbeat_timeout:"):
            say(
                f"the mission is {how}, because no heartbeat arrived. The command runs on; its outcome is not reported."
            )
        elif status == "COMPLETED":
            say("the mission is COMPLETED already. The command runs on; its outcome is not reported.")
        else:
            stopped = "The command is stopped." if self._child.stop() else "The command's outcome is not reported."
            say(f"the mission was ended: {how}. {stopped}")

    def _refuse(self, error: Exception) -> None:
        self._refused = True
        what = (
            sentence(self._explain(error)) if isinstance(error, MissionsError) else f"Error of this program: {error!r}."
        )
        say(f"{what} Nothing more is reported.")

    def _complain(self, what: str) -> None:
        """Say it, but only the first time."""
        if not self._complained:
            self._complained = True
            say(what)


class Lines:
    """Cuts output into lines, in bounded memory."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk, without their ends. A line that is too long is cut between characters."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        lines = [piece for line in lines for piece in parts(last_shown(line))]
        *long, self._rest = parts(last_shown(rest) + b"\r" * rest.endswith(b"\r"))
        return lines + long

    def end(self) -> list[bytes]:
        """The last line, if it had no end."""
        return [last_shown(self._rest)] if self._rest else []


def last_shown(line: bytes) -> bytes:
    """What a terminal shows of a line with carriage returns: what comes after the last one that is not at its end."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def parts(line: bytes) -> Iterator[bytes]:
    while len(line) > text.LONGEST:
        end = text.LONGEST
        while line[end] & 0xC0 == 0x80 and end > text.LONGEST - 4:  # inside a character
            end -= 1
        yield line[:end]
        line = line[end:]
    yield line


def pump(source: int, target: int, kind: bytes, child: Child, report: Report) -> None:
    """Pass output on, and report it, until its end, or a little longer than the command runs."""
    lines = Lines()
    waiting = select.poll()
    waiting.register(source, select.POLLIN)
    waiting.register(child.ended, select.POLLIN)
    until = math.inf  # when reading ends, but not before what the pipe held at the command's end was read
    left = 0
    while True:
        pause = None if until == math.inf else max(0.0, until - time.monotonic()) * 1000
        ready = {each for each, _ in waiting.poll(pause)}
        if child.ended in ready:
            waiting.unregister(child.ended)
            until, left = time.monotonic() + HELD_OPEN, CHUNK
        if source in ready:
            chunk = os.read(source, CHUNK)
            taken = bool(chunk) and write(target, chunk)
            report.output(kind, lines.cut(chunk))
            left -= len(chunk)
            if not taken or (left <= 0 and time.monotonic() >= until):
                break
        elif time.monotonic() >= until:
            break
    report.output(kind, lines.end())
    os.close(source)  # if nobody reads our output, the command learns that, as without us


def write(target: int, data: bytes) -> bool:
    """Write all of it, as far as there is room; False if nobody takes it."""
    try:
        while data:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:  # another process made our output non-blocking
                select.select([], [target], [])
    except BrokenPipeError:
        return False
    except OSError:  # a full disk, or a terminal that is gone: the command goes on, and so does its log
        return True
    return True


def pass_on(signals: set[signal.Signals], child: Child, report: Report) -> None:
    """Pass signals on to the command; if it does not run, end what we do."""
    while True:
        number, has_it = next_signal(signals)
        if child.interrupt(number, has_it):
            report.begun.set()
            report.over.set()


def next_signal(signals: set[signal.Signals]) -> tuple[int, bool]:
    """Wait for one; and whether the command has it, too, because the terminal sent it to the whole group."""
    if sys.platform == "linux":
        told = signal.sigwaitinfo(signals)
        return told.si_signo, told.si_signo in FROM_TERMINAL and told.si_code == SI_KERNEL
    number = signal.sigwait(signals)  # who sent it is not told here; if we are in the foreground, it was the terminal
    with suppress(OSError):
        return number, number in FROM_TERMINAL and os.tcgetpgrp(2) == os.getpgrp()
    return number, False


def status_of(refused: Conflict) -> tuple[str, str | None]:
    return refused.problem.get("current_status", "ended"), refused.problem.get("reason")


def say(what: str) -> None:
    write(2, f"missions: {one_line(what)}\n".encode())
