"""run."""

import shlex
from collections.abc import Sequence

import click

from missions_client.cli.session import Seconds, Session


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", metavar="TEXT", help="The name of the mission; default: the command.")
@click.option("--tag", "-t", "tags", multiple=True, help="Several are given one by one.")
@click.option("--timeout", type=Seconds(), help="How long it may run; then it is stopped.")
@click.option("--heartbeat-timeout", type=Seconds(), default=60, show_default=True, help="See the README.")
@click.option("--strict", is_flag=True, help="Do not start the command if the mission cannot be created.")
@click.option("--flush", type=float, default=60.0, show_default=True, help="Seconds for what is left at the end.")
@click.pass_obj
def run_(
    session: Session, command: Sequence[str], name: str | None, tags: Sequence[str], timeout: int | None,
    heartbeat_timeout: int, strict: bool, flush: float,
) -> int:  # fmt: skip
    """Run a command as a mission: `missions run -- make test`.

    Its output becomes the log, and its exit code is that of this command.
    """
    from missions_client import run, text
    from missions_client.transport import Retry

    settings = session.settings  # a wrong configuration is told before the command starts
    return run.main(
        command,
        client=lambda: session.client(Retry(attempts=1)),
        url=settings.url,
        name=text.note(name or shlex.join(command)) or "command",
        tags=tags,
        timeout=timeout,
        heartbeat_timeout=heartbeat_timeout,
        strict=strict,
        flush=flush,
    )
