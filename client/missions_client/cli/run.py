"""run."""

import shlex
from collections.abc import Sequence
from contextlib import suppress

import click

from missions_client.cli import explained
from missions_client.cli.session import Seconds, Session
from missions_client.errors import CannotSignIn, SignInRefused, Unreachable

PATIENCE = 15.0  # seconds for an answer; then the request is sent again


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", metavar="TEXT", help="The name; default: the command and its arguments.")
@click.option("--tag", "-t", "tags", multiple=True, help="Several are given one by one.")
@click.option("--timeout", type=Seconds(), help="After that it fails, and is stopped, within about a minute.")
@click.option(
    "--heartbeat-timeout",
    type=Seconds(),
    default=60,
    show_default=True,
    help="After so long without a sign of life it fails.",
)
@click.option("--strict", is_flag=True, help="Do not start the command if the mission cannot be created.")
@click.option(
    "--flush",
    type=Seconds(),
    default=60,
    show_default=True,
    help="How long to send what is left at the end; with --strict also how long to wait for the start.",
)
@click.pass_obj
def run_(
    session: Session, command: Sequence[str], name: str | None, tags: Sequence[str], timeout: int | None,
    heartbeat_timeout: int, strict: bool, flush: int,
) -> int:  # fmt: skip
    """Run a command as a mission: `missions run -- make test`.

    Its output becomes the log, and its exit code is that of this command. The API is told who runs what: give --name if
    the arguments hold a secret.
    """
    from missions_client import run, text
    from missions_client.transport import Retry

    if session.flags.get("stack"):
        raise click.UsageError("run takes --url or --context: with --stack it would have to ask AWS first")
    settings = session.settings  # a wrong configuration is told before the command starts
    if settings.profile and not settings.token:
        with suppress(CannotSignIn, Unreachable):  # the profile is there: what AWS says of it does not stop the command
            _ = session.auth
    return run.main(
        command,
        client=lambda: session.client(Retry(attempts=1), timeout=PATIENCE),
        url=settings.url,
        name=text.note(name or shlex.join(command)) or "command",
        tags=tags,
        timeout=timeout,
        heartbeat_timeout=heartbeat_timeout,
        strict=strict,
        flush=flush,
        explain=lambda error: explained(error, session)[0] if isinstance(error, SignInRefused) else str(error),
    )
