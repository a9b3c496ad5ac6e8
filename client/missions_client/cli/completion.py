"""completion."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_(shell: str) -> None:
    """Print what makes a shell complete commands, flags and ids.

    For bash: eval "$(missions completion bash)" in ~/.bashrc.
    """
    from missions_client.cli.commands import missions

    found = get_completion_class(shell)
    assert found  # noqa: S101  click has these three
    click.echo(found(missions, {}, "missions", "_MISSIONS_COMPLETE").source())
