"""The names of the commands, and where they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from missions_client.cli import PIPE
from missions_client.cli.session import common

COMMANDS = {
    "create": "missions",
    "list": "missions",
    "show": "missions",
    "start": "missions",
    "complete": "missions",
    "fail": "missions",
    "cancel": "missions",
    "retry": "missions",
    "claim": "missions",
    "heartbeat": "missions",
    "delete": "missions",
    "log": "follow",
    "watch": "follow",
    "run": "run",
    "stats": "stats",
    "outbox": "operators",
    "console": "pages",
    "open": "pages",
    "completion": "completion",
}


class Lazy(click.Group):
    """Loads the module of a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"missions_client.cli.{COMMANDS[cmd_name]}"), f"{cmd_name}_")
        return _with_flags(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        like = get_close_matches(name, COMMANDS, 1)
        meant = f" Did you mean {like[0]}?" if like else ""
        raise click.UsageError(f"No such command '{name}'.{meant}", ctx)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _unread():  # --help is printed here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _unread():
            return super().invoke(ctx)


@contextmanager
def _unread() -> Iterator[None]:
    """End with 141, where click would end with 1, when nobody reads the output any more, as with `| head`."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(PIPE) from None


def _with_flags(command: click.Command) -> click.Command:
    """The command, which takes the common flags, too; and so do those below it."""
    if not any(each.name == "url" for each in command.params):
        command.params.extend(common(hidden=True))
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _with_flags(each)
    return command


@click.group(
    cls=Lazy,
    params=common(hidden=False),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Flags may also stand after the command. Durations are 90, 90s, 15m, 2h, 7d. Exit codes: 0 done, 1 refused, "
    "2 wrong usage, 3 no such mission, 4 no permission, 5 no answer of the API, 130 Ctrl-C, 141 nobody reads.",
)
@click.version_option(package_name="missions-client", message="%(version)s")
@click.pass_context
def missions(ctx: click.Context) -> Any:
    """Missions, from the command line. `missions COMMAND --help` tells more of a command."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
