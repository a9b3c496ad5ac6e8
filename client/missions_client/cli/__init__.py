"""The command `missions`. Modules are loaded by the commands that use them, so that each answers fast."""

import errno
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from missions_client import streams

if TYPE_CHECKING:
    from missions_client.cli.session import Session

DONE, REFUSED, USAGE, NO_MISSION, SIGN_IN, NO_ANSWER, INTERRUPTED, PIPE = 0, 1, 2, 3, 4, 5, 130, 141
NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def script() -> None:
    """Run the command and end the process."""
    streams.prepare()
    gc.set_threshold(100_000)  # looking for garbage is a tenth of the time until a command starts to work
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # what could not be written was told before
            stream.flush()
    os._exit(code)  # Python would take each module apart first, which is another tenth


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the answer is its exit code. Every error is one line on standard error (README.md)."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from missions_client.cli.commands import missions
    from missions_client.cli.session import Session
    from missions_client.errors import MissionsError, sentence

    session = Session()
    try:
        code = missions.main(arguments, "missions", standalone_mode=False, obj=session)
    except click.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "missions"
        told = error.format_message() if isinstance(error, click.BadParameter) else error.message
        like = getattr(error, "possibilities", None)  # click would add them without a stop in between
        meant = f" Did you mean {like[0]}?" if like else ""
        return failed(f"{sentence(told)}{meant} See: {path} --help", USAGE)
    except click.ClickException as error:
        return failed(error.format_message(), USAGE)
    except MissionsError as error:
        return failed(*explained(error, session))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NOT_WRITTEN:
            return failed(f"The output could not be written: {error.strerror}.", REFUSED)
        if "MISSIONS_TRACEBACK" in os.environ:
            raise
        told = f"This is an error of the program itself: {error!r}. MISSIONS_TRACEBACK=1 shows where it is."
        return failed(told, REFUSED)
    return code if isinstance(code, int) else DONE


def explained(error: Exception, session: "Session") -> tuple[str, int]:
    """What to tell of an error, with what to do about it; and the exit code."""
    from missions_client import errors

    told = str(error)
    sentence = errors.sentence(told)
    where = "Check the URL (--url, --context, MISSIONS_URL)"
    match error:
        case errors.Misconfigured():
            return told, USAGE
        case errors.NotFound() if session.shortened:
            more = "The beginning of an id is enough only if `missions list` or another command showed it here lately."
            return f"{sentence} {more}", NO_MISSION
        case errors.NotFound() | errors.Removed():
            return told, NO_MISSION
        case errors.CannotSignIn():
            return told, SIGN_IN
        case errors.SignInRefused():
            return f"{sentence} {_signed_in(session)}".strip(), SIGN_IN
        case errors.Unreachable():
            return f"{sentence} {where}, or try again later.", NO_ANSWER
        case errors.Busy():
            return f"{sentence} Try again later.", NO_ANSWER
        case errors.ApiError(code=None, status=404) | errors.Broken(code=None):
            return f"{sentence.removesuffix(' Is the URL right?')} {where}.", NO_ANSWER
    return told, REFUSED


def _signed_in(session: "Session") -> str:
    """Which setting the sign-in came from, since others may be set, too."""
    from missions_client.auth import API_GATEWAY

    if "settings" not in vars(session):  # AWS refused to say where the API is
        return ""
    if session.settings.signed_in_by:
        return f"It came from {session.settings.signed_in_by}."
    if API_GATEWAY.search(session.settings.url):
        return "The credentials were those that the AWS CLI would use; --token and --profile give others."
    return "There was none: give MISSIONS_TOKEN, --profile or --context."


def failed(told: str, code: int) -> int:
    """Tell an error in one line; the answer is the exit code."""
    from missions_client.errors import one_line

    with suppress(OSError):
        print(f"missions: {one_line(told)}", file=sys.stderr)
    return code
