"""Which API is meant, and how to sign in there: by flags, the environment, and ~/.config/missions/config.toml.

    default = "dev"

    [contexts.dev]
    url = "https://abc.execute-api.eu-central-1.amazonaws.com"
    profile = "dev"                   # of the AWS CLI: requests are signed with it
    stack = "missions-dev"            # of CloudFormation: it names the operator function

    [contexts.team]
    url = "https://missions.example.com"
    token_command = "login-tool print-token --audience missions"

The first of these that is there names the API: --url, --context, --stack (its output ApiUrl), MISSIONS_URL,
MISSIONS_CONTEXT, the default of the file, and else http://127.0.0.1:3000. What a context says of the sign-in is used
for its own URL only.

The first of these that is there signs in: --token, --profile, what the context of --context says, MISSIONS_TOKEN, what
the context of this URL says, and else, at API Gateway, the credentials that the AWS CLI would use.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from missions_client.errors import CannotSignIn, Misconfigured, MissionsError

if TYPE_CHECKING:
    import httpx

TOKEN_LIFE = 60  # seconds that a token is used before its command is run again
PATIENCE = 60  # seconds that the command may take


@dataclass(frozen=True)
class Context:
    """A section of the file."""

    url: str
    profile: str | None = None
    token_command: str | list[str] | None = None
    stack: str | None = None


@dataclass(frozen=True)
class Settings:
    """The API, and how to sign in there."""

    url: str
    context: str | None = None
    token: str | Callable[[], str] | None = None
    profile: str | None = None
    stack: str | None = None
    signed_in_by: str = ""
    """The setting that the sign-in comes from, for people; empty if there is none."""

    def auth(self) -> "httpx.Auth":
        """What signs requests in. Raises MissionsError if there are no credentials."""
        import httpx

        from missions_client.auth import Bearer, SigV4, auth_for

        if self.token:
            return Bearer(self.token)
        if self.profile:
            from missions_client import aws

            return SigV4(aws.region(self.url, self.profile), profile=self.profile)
        return auth_for(self.url, None) or httpx.Auth()


class TokenCommand:
    """Runs a command that prints a token, not through a shell. What it printed counts for a minute."""

    def __init__(self, command: str | list[str]) -> None:
        self._command = command
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The token. Raises CannotSignIn."""
        if time.monotonic() >= self._until:
            self._token = self._run()
            self._until = time.monotonic() + TOKEN_LIFE
        return self._token

    def forget(self) -> None:
        """The token was refused: run the command again for the next one."""
        self._until = 0.0

    def _run(self) -> str:
        import shlex
        import subprocess

        try:
            words = shlex.split(self._command) if isinstance(self._command, str) else self._command
            done = subprocess.run(  # noqa: S603  it is the user's own
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE, check=True
            )
            token = done.stdout.decode("ascii").strip()
        except subprocess.TimeoutExpired:
            why = f"did not end within {PATIENCE} seconds"
        except subprocess.CalledProcessError as error:
            why = f"failed with exit code {error.returncode}"
        except OSError as error:
            why = f"cannot be run ({error.strerror})"
        except (ValueError, IndexError):  # not to be shown: it may hold a part of the token
            why = "printed no token, or is written wrong"
        else:
            if token:
                return token
            why = "printed no token"
        raise CannotSignIn(f"The token_command in {path()} {why}. Run it by hand to see what is missing.")


def resolve(
    *, url: str | None = None, token: str | None = None, context: str | None = None, profile: str | None = None,
    stack: str | None = None,
) -> Settings:  # fmt: skip
    """What these flags mean, with the environment and the file. Raises MissionsError."""
    from missions_client.transport import LOCAL, address

    flags = {"url": url, "token": token, "context": context, "profile": profile, "stack": stack}
    if "" in flags.values():
        empty = next(name for name, value in flags.items() if value == "")
        raise Misconfigured(f"--{empty} is empty: give it a value, or leave it out.")
    if url and context:
        raise Misconfigured("Give --url or --context, not both.")
    default, sections = read()
    if stack and not url and not context:
        from missions_client import aws

        url = aws.outputs(stack, profile).get("ApiUrl")
        if not url:
            raise Misconfigured(f"The stack {stack} has no output ApiUrl. Is it one of Missions, and deployed?")
    url = url or (None if context else os.environ.get("MISSIONS_URL"))
    named = context or os.environ.get("MISSIONS_CONTEXT") or default
    if named and named not in sections and not url:
        raise Misconfigured(f"There is no context '{named}' in {path()}, which has: {', '.join(sections) or 'none'}.")
    name: str | None
    if named and not url:
        name, own = named, _context(named, sections[named])
    else:
        try:
            url = address(url or LOCAL)
        except MissionsError as error:
            raise Misconfigured(str(error)) from None
        # What a context says is for its own URL: no other API gets its token
        name = next((each for each in (named or "", *sections) if _is_at(sections.get(each), url)), None)
        own = _context(name, sections[name]) if name else Context(url)
    url = own.url
    stack, section = stack or own.stack, f"[contexts.{name}] of {path()}"
    if token:
        return Settings(url, name, token, profile or own.profile, stack, "--token")
    if profile:
        return Settings(url, name, None, profile, stack, "--profile")
    from_environment = os.environ.get("MISSIONS_TOKEN")
    if from_environment and not (context and (own.token_command or own.profile)):
        return Settings(url, name, from_environment, own.profile, stack, "MISSIONS_TOKEN")
    if own.token_command:
        return Settings(url, name, TokenCommand(own.token_command), own.profile, stack, f"token_command in {section}")
    return Settings(url, name, None, own.profile, stack, f"profile in {section}" if own.profile else "")


def path() -> Path:
    """Where the file is."""
    return folder("XDG_CONFIG_HOME", ".config") / "config.toml"


def folder(variable: str, usual: str) -> Path:
    """The folder of this program below the one that the variable names, or below the usual one of the home."""
    named = os.environ.get(variable, "")
    try:
        return (Path(named) if os.path.isabs(named) else Path("~", usual).expanduser()) / "missions"
    except RuntimeError:  # this user has no home, as in some containers
        return Path("/nonexistent/missions")


def read() -> tuple[str | None, dict[str, Any]]:
    """The name of the default context, and all sections of the file; none if there is no file. Raises MissionsError."""
    try:
        text = path().read_text()
    except FileNotFoundError:
        return None, {}
    except OSError as error:
        raise Misconfigured(f"{path()} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path()} is not UTF-8.") from None
    import tomllib

    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path()} is not TOML: {error}.") from None
    default, sections = found.pop("default", None), found.pop("contexts", {})
    if found or not isinstance(sections, dict) or not isinstance(default, str | None):
        raise Misconfigured(f'{path()} may have `default = "name"` and sections [contexts.name], and nothing else.')
    return default, sections


def _is_at(section: Any, url: str) -> bool:
    """Whether this section is one of this URL."""
    return isinstance(section, dict) and str(section.get("url", "")).strip().rstrip("/") == url


def _context(name: str, section: Any) -> Context:
    from missions_client.transport import address

    known = [each.name for each in fields(Context)]
    told = f"[contexts.{name}] of {path()}"
    if not isinstance(section, dict) or "url" not in section:
        raise Misconfigured(f"{told} must have a url.")
    if unknown := [each for each in section if each not in known]:
        raise Misconfigured(f"{told} has '{unknown[0]}', which is unknown. It may have {', '.join(known)}.")
    for member, value in section.items():
        words = isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)
        if not (isinstance(value, str) and value.strip()) and not (member == "token_command" and words):
            raise Misconfigured(f"{member} in {told} must be a text.")
    try:
        return Context(**section | {"url": address(section["url"])})
    except MissionsError as error:
        raise Misconfigured(f"{told}: {error}") from None
