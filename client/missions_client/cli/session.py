"""What all commands share: the API that is meant, the terminal, and how ids, times and options are given."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from missions_client import config, times
from missions_client.errors import NotFound, Removed
from missions_client.recent import Recent

if TYPE_CHECKING:
    import httpx

    from missions_client.synchronous import Client
    from missions_client.transport import Retry

UNSAFE = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
COLOURS = {"PENDING": "yellow", "RUNNING": "blue", "COMPLETED": "green", "FAILED": "red", "CANCELLED": "magenta"}


class Session:
    """One run of the command. The flags may stand before the name of the command, and after it."""

    def __init__(self) -> None:
        self.flags: dict[str, str | None] = {}
        self.json = False
        self.shortened = False  # an id may have been the beginning of another one
        self.utc = False

    @cached_property
    def settings(self) -> config.Settings:
        return config.resolve(**self.flags)

    @cached_property
    def auth(self) -> "httpx.Auth":
        """What signs requests in. Raises MissionsError."""
        return self.settings.auth()

    @cached_property
    def recent(self) -> Recent:
        return Recent(self.settings)

    def client(self, retry: "Retry | None" = None, timeout: float = 35.0) -> "Client":
        """The client of the API. A person does not wait long: by default a request is sent three times."""
        from missions_client.synchronous import Client
        from missions_client.transport import Retry

        return Client(self.settings.url, auth=self.auth, retry=retry or Retry(attempts=3), timeout=timeout)

    @cached_property
    def terminal(self) -> bool:
        return sys.stdout.isatty()

    @property
    def cells(self) -> int | None:
        """The width of the terminal; None if nobody looks."""
        return shutil.get_terminal_size().columns if self.terminal else None

    @cached_property
    def colour(self) -> bool:
        return self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """Print for people. A server that is not ours can put nothing but colours on the terminal."""
        click.echo(UNSAFE.sub("?", text), color=self.colour)

    def hint(self, text: str) -> None:
        """What to do next; only for who looks."""
        if self.terminal and not self.json:
            click.secho(text, err=True, dim=self.colour or None)

    def give(self, value: Any) -> None:
        """Print one line of JSON."""
        click.echo(json.dumps(value if isinstance(value, Mapping) else asdict(value)))

    def at(self, moment: float) -> str:
        return times.stamp(moment, self.utc)

    def find(self, client: "Client", text: str) -> str:
        """The id that this is, or that it is the beginning of among those shown lately. Raises click.UsageError."""
        found = self.recent.beginning_with(text)
        if not found and re.fullmatch(r"[0-9a-f-]{1,35}", text):
            self.shortened = True
        if not found or text in found:
            return text
        try:  # a whole id of which others are longer; it is the one that is meant
            return client.get(text).id
        except Removed:
            return text
        except NotFound:
            pass
        if len(found) == 1:
            return found[0]
        listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise click.UsageError(f"'{text}' is the beginning of {len(found)} ids: {listed}")


class MissionId(click.ParamType):
    """An id, or the beginning of one that was shown lately."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("An id is missing", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: Iterable[str] = ctx.ensure_object(Session).recent.beginning_with(incomplete) if incomplete else ()
        return [CompletionItem(each) for each in found]


class Seconds(click.ParamType):
    """Seconds, or such as 90s, 15m, 2h, 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else times.seconds(value)
        except ValueError as error:
            self.fail(f"'{value}': {error}", param, ctx)


class Moment(click.ParamType):
    """A moment; 2h means in two hours (direction 1), or two hours ago (-1)."""

    name = "moment"

    def __init__(self, direction: int) -> None:
        self._direction = direction

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else times.moment(value, self._direction)
        except ValueError as error:
            self.fail(f"'{value}': {error}", param, ctx)


class Several(click.ParamType):
    """One of these words, or several with commas between them; capital and small letters are the same."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self.name = "|".join(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        known = {each.lower(): each for each in self._words}
        given = [each.strip() for each in value.split(",")]
        if unknown := [each for each in given if each.lower() not in known]:
            self.fail(f"'{unknown[0]}' is none of {', '.join(self._words)}", param, ctx)
        return [known[each.lower()] for each in given]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(each) for each in self._words if each.lower().startswith(incomplete.lower())]


STATUS = Several(list(COLOURS))
LEVEL = Several(["debug", "info", "warning", "error"])


def _keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).flags[str(param.name)] = value


def _switch(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        setattr(ctx.ensure_object(Session), str(param.name), True)


def common(hidden: bool) -> list[click.Option]:
    """The flags of every command."""

    def flag(name: str, metavar: str, told: str) -> click.Option:
        return click.Option(
            [f"--{name}"], metavar=metavar, help=told, callback=_keep, expose_value=False, hidden=hidden
        )

    def switch(name: str, told: str) -> click.Option:
        return click.Option([f"--{name}"], is_flag=True, help=told, callback=_switch, expose_value=False, hidden=hidden)

    return [
        flag("url", "URL", "The API, without /api/missions (or MISSIONS_URL)."),
        flag("context", "NAME", "A section of the configuration file (or MISSIONS_CONTEXT)."),
        flag("token", "TOKEN", "The token to send. MISSIONS_TOKEN is better: others see your flags."),
        flag("profile", "NAME", "Sign requests with this profile of the AWS CLI."),
        flag("stack", "NAME", "The stack of CloudFormation, for outbox and console."),
        switch("json", "Print JSON for programs: one document, or lines of list, log and watch."),
        switch("utc", "Show times in UTC, not in the local zone."),
    ]


def status(text: str, colour: str) -> str:
    """The text in the colour of this status."""
    return click.style(text, fg=COLOURS[colour])
