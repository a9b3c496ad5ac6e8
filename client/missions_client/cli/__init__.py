"""The command `missions`. Modules are loaded by the commands that use them, so that each answers fast."""

import os
import sys
from collections.abc import Sequence

DONE, REFUSED, USAGE, NO_MISSION, SIGN_IN, NO_ANSWER, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process. Every error is one line on standard error, with an exit code (README.md)."""
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # one may be closed
            stream.reconfigure(errors="backslashreplace")  # what the locale does not have is no reason to fail
        code = _run(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    import click

    from missions_client.cli.commands import missions
    from missions_client.cli.session import Session
    from missions_client.errors import MissionsError

    try:
        code = missions.main(arguments, "missions", standalone_mode=False, obj=Session())
    except click.Abort:
        return INTERRUPTED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "missions"
        # Of an unknown option, click would add another one that is like it, on the same line without a stop
        told = error.format_message() if isinstance(error, click.BadParameter) else error.message
        return _failed(f"{told.rstrip('.')}. See: {path} --help", USAGE)
    except click.ClickException as error:
        return _failed(error.format_message(), USAGE)
    except MissionsError as error:
        return _failed(*explained(error))
    except Exception as error:
        if "MISSIONS_TRACEBACK" in os.environ:
            raise
        told = f"This is an error of the program itself: {error!r}. MISSIONS_TRACEBACK=1 shows where it is."
        return _failed(told, REFUSED)
    return code if isinstance(code, int) else DONE


def explained(error: Exception) -> tuple[str, int]:
    """What to tell of an error, with what to do about it; and the exit code."""
    from missions_client import errors
    from missions_client.config import Misconfigured, NoToken

    told = str(error)
    sentence = told if told.endswith((".", "?")) else f"{told}."
    where = "Check the URL (--url, --context, MISSIONS_URL)"
    match error:
        case Misconfigured():
            return told, USAGE
        case errors.NotFound() | errors.Removed():
            return told, NO_MISSION
        case errors.SignInRefused() | NoToken():
            return told, SIGN_IN
        case errors.Unreachable():
            return f"{sentence} {where}, or try again later.", NO_ANSWER
        case errors.Busy():
            return f"{sentence} Try again later.", NO_ANSWER
        case errors.ApiError(code=None, status=404) | errors.Broken(code=None):
            return f"{sentence} {where}.", NO_ANSWER
    return told, REFUSED


def _failed(told: str, code: int) -> int:
    from missions_client.errors import one_line

    print(f"missions: {one_line(told)}", file=sys.stderr)
    return code
