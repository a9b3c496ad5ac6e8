"""Which API a command means, and who it signs in as: flags, the environment and the file."""

import re
import stat
from pathlib import Path

import httpx
import pytest
from missions_client import Client, MissionsError, SignInRefused, config
from missions_client.auth import SigV4
from missions_client.config import Settings, resolve
from missions_client.errors import CannotSignIn, Misconfigured
from missions_client.recent import Recent

from tests.client.api import Double, Say

FILE = """
default = "dev"

[contexts.dev]
url = "https://dev.example.com/"
profile = "dev-profile"
stack = "missions-dev"

[contexts.team]
url = "https://team.example.com"
token_command = "sh -c 'echo team-token'"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder for this test alone, and nothing else in the environment."""
    for name in ("MISSIONS_URL", "MISSIONS_TOKEN", "MISSIONS_CONTEXT", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
                 "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def file(home: Path) -> Path:
    """The configuration file."""
    path = home / ".config/missions/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    return path


def told(settings: Settings) -> tuple[str, str | None, str | None]:
    """The URL, the token and the profile."""
    token = settings.token if isinstance(settings.token, str | None) else settings.token()
    return settings.url, token, settings.profile


def test_without_anything_it_is_the_stack_of_make_run() -> None:
    assert told(resolve()) == ("http://127.0.0.1:3000", None, None)


DEV = "https://dev.example.com"
TEAM = "https://team.example.com"
OTHER = "https://other.example.com"


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ({}, {}, (DEV, None, "dev-profile")),
        ({"context": "team"}, {}, (TEAM, "team-token", None)),
        ({}, {"MISSIONS_CONTEXT": "team"}, (TEAM, "team-token", None)),
        ({}, {"MISSIONS_URL": OTHER}, (OTHER, None, None)),
        ({"context": "dev"}, {"MISSIONS_URL": OTHER}, (DEV, None, "dev-profile")),
        ({"url": OTHER}, {"MISSIONS_CONTEXT": "team"}, (OTHER, None, None)),
        ({"url": f"{TEAM}/"}, {}, (TEAM, "team-token", None)),
        ({}, {"MISSIONS_URL": OTHER, "MISSIONS_TOKEN": "t"}, (OTHER, "t", None)),
        ({}, {"MISSIONS_CONTEXT": "team", "MISSIONS_TOKEN": "t"}, (TEAM, "t", None)),
        ({"context": "team"}, {"MISSIONS_TOKEN": "t"}, (TEAM, "team-token", None)),
        ({"context": "dev"}, {"MISSIONS_TOKEN": "t"}, (DEV, None, "dev-profile")),
        ({"context": "team", "token": "flag"}, {"MISSIONS_TOKEN": "t"}, (TEAM, "flag", None)),
        ({"profile": "p"}, {"MISSIONS_TOKEN": "t"}, (DEV, None, "p")),
        ({"url": OTHER}, {"MISSIONS_CONTEXT": "gone"}, (OTHER, None, None)),
    ],
)
def test_the_nearest_word_counts(
    flags: dict[str, str], environment: dict[str, str], expected: tuple[str, str | None, str | None], file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert told(resolve(**flags)) == expected


def test_a_stack_belongs_to_the_url_of_its_context(file: Path) -> None:
    assert (resolve().stack, resolve(url=OTHER).stack, resolve(url=OTHER, stack="s").stack) == (
        "missions-dev",
        None,
        "s",
    )


def test_the_file_is_where_xdg_says(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.rename(home / "config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    (home / "elsewhere/missions").mkdir(parents=True)
    (home / "config.toml").rename(home / "elsewhere/missions/config.toml")
    assert resolve().url == DEV
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which the rules of XDG want ignored
    assert resolve().url == "http://127.0.0.1:3000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("default = 1", "nothing else"),
        ("contexts = 1", "nothing else"),
        ("colour = 'red'", "nothing else"),
        ("[contexts.a]\nprofile = 'x'", "must have a url"),
        (
            "[contexts.a]\nurl = 'http://x'\ntoken = 'secret'",
            "has 'token', which is unknown. It may have url, profile, token_command, stack",
        ),
        ("[contexts.a]\nurl = 1", "url in [contexts.a]"),
        ("[contexts.a]\nurl = 'x'", "is no URL"),
        ("[contexts.a]\nurl = 'http://x'\ntoken_command = []", "token_command in [contexts.a]"),
        ("[contexts.a", "is not TOML"),
        ("\udcff", "is not UTF-8"),
    ],
)
def test_a_mistake_in_the_file_is_told(text: str, expected: str, file: Path) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Misconfigured) as caught:
        resolve(context="a")
    assert expected in str(caught.value)
    assert str(file) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_mistake_in_a_section_that_is_not_meant_stops_nothing(file: Path) -> None:
    file.write_text(file.read_text() + "[contexts.broken]\nurl = 1\n")
    assert resolve().url == DEV
    assert resolve(url=OTHER).url == OTHER
    with pytest.raises(Misconfigured, match=r"url in \[contexts.broken\]"):
        resolve(context="broken")


def test_a_mistake_in_the_section_of_the_url_that_is_meant_is_told(file: Path) -> None:
    file.write_text(file.read_text() + f"[contexts.typo]\nurl = '{OTHER}/'\ntoken_comand = 'echo x'\n")
    assert resolve().url == DEV
    with pytest.raises(Misconfigured, match="has 'token_comand', which is unknown"):
        resolve(url=OTHER)


def test_a_default_that_does_not_exist_stops_only_who_means_it(file: Path) -> None:
    file.write_text(file.read_text().replace('default = "dev"', 'default = "gone"'))
    assert resolve(context="dev").url == DEV
    with pytest.raises(Misconfigured, match="There is no context 'gone'"):
        resolve()


@pytest.mark.parametrize("flag", ["url", "token", "context", "profile", "stack"])
def test_an_empty_flag_is_a_mistake(flag: str, file: Path) -> None:
    with pytest.raises(Misconfigured, match=f"--{flag} is empty"):
        resolve(**{flag: ""})


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ({"token": "t", "context": "team"}, {}, "--token"),
        ({"profile": "p"}, {"MISSIONS_TOKEN": "t"}, "--profile"),
        ({}, {"MISSIONS_TOKEN": "t"}, "MISSIONS_TOKEN"),
        ({"context": "team"}, {"MISSIONS_TOKEN": "t"}, r"token_command in \[contexts.team\] of /.*config.toml"),
        ({}, {}, r"profile in \[contexts.dev\] of /.*config.toml"),
        ({"url": OTHER}, {}, ""),
    ],
)
def test_it_is_known_which_setting_signs_in(
    flags: dict[str, str], environment: dict[str, str], expected: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert re.fullmatch(expected, resolve(**flags).signed_in_by)


def test_a_url_and_a_context_exclude_each_other(file: Path) -> None:
    with pytest.raises(Misconfigured, match="not both"):
        resolve(url=OTHER, context="dev")


def test_a_token_command_is_not_run_by_a_shell(file: Path, home: Path) -> None:
    file.write_text(f"[contexts.a]\nurl = '{TEAM}'\ntoken_command = 'echo t;touch {home}/made $HOME'")
    settings = resolve(context="a")
    assert callable(settings.token)
    assert settings.token() == f"t;touch {home}/made $HOME"
    assert not (home / "made").exists()


def test_a_token_command_is_run_once_a_minute(file: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = f"echo x >> {home}/count; wc -l < {home}/count"
    file.write_text(f"[contexts.a]\nurl = '{TEAM}'\ntoken_command = {['sh', '-c', count]!r}")
    token = resolve(context="a").token
    assert callable(token)
    assert [token(), token()] == ["1", "1"]
    monkeypatch.setattr(config, "TOKEN_LIFE", 0)
    again = resolve(context="a").token
    assert callable(again)
    assert [again(), again()] == ["2", "3"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sh -c 'echo secret; exit 3'", "failed with exit code 3"),
        ("true", "printed no token"),
        ("/no/such/tool", "cannot be run"),
        ("printf 'secret\\xff'", "printed no token"),
        ("sh -c 'secret", "written wrong"),
    ],
)
def test_a_token_command_that_fails_is_told_without_what_it_printed(command: str, expected: str, file: Path) -> None:
    file.write_text(f"[contexts.a]\nurl = '{TEAM}'\ntoken_command = '''{command}'''")
    token = resolve(context="a").token
    assert callable(token)
    with pytest.raises(CannotSignIn, match=expected) as caught:
        token()
    assert "secret" not in str(caught.value)
    assert "Run it by hand" in str(caught.value)


def test_a_token_is_sent_and_never_shown(double: Double) -> None:
    settings = resolve(url=double.url, token="very-secret")
    double.will(Say(401, {"message": "Unauthorized"}))
    with Client(settings.url, auth=settings.auth()) as client, pytest.raises(SignInRefused) as caught:
        client.get("job")
    assert double.asked[0].headers["authorization"] == "Bearer very-secret"
    assert "secret" not in str(caught.value) + repr(caught.value)


def test_a_token_of_another_api_is_not_sent(double: Double, file: Path) -> None:
    settings = resolve(url=double.url)
    with Client(settings.url, auth=settings.auth()) as client:
        client.get("job")
    assert "authorization" not in double.asked[0].headers


def test_a_token_with_strange_characters_is_refused_without_it(double: Double) -> None:
    settings = resolve(url=double.url, token="sécret")
    with Client(settings.url, auth=settings.auth()) as client, pytest.raises(MissionsError) as caught:
        client.get("job")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "region"),
    [(OTHER, "eu-west-3"), ("https://abc.execute-api.eu-central-1.amazonaws.com", "eu-central-1")],
    ids=["a domain of its own", "API Gateway"],
)
def test_a_profile_signs_for_the_region(url: str, region: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "aws").write_text("[profile p]\nregion = eu-west-3\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
    auth = resolve(url=url, profile="p").auth()
    assert isinstance(auth, SigV4)
    signed = next(auth.auth_flow(httpx.Request("GET", url)))
    assert "Credential=AK/" in signed.headers["authorization"]
    assert f"/{region}/execute-api/aws4_request" in signed.headers["authorization"]


@pytest.mark.parametrize("profile", ["none", "no-region"])
def test_a_profile_that_is_not_complete_is_told(profile: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "aws").write_text("[profile no-region]\naws_access_key_id = AK\naws_secret_access_key = SK\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "aws"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MissionsError, match=profile):
        resolve(url=OTHER, profile=profile).auth()


def test_ids_are_kept_for_each_context_apart(home: Path) -> None:
    first, second = Settings(OTHER, "a"), Settings(OTHER, "b")
    Recent(first).add(["one", "two"])
    Recent(first).add(["three"])
    assert Recent(first).ids == ["three", "one", "two"]
    assert Recent(second).ids == []
    assert stat.S_IMODE((home / ".cache/missions").stat().st_mode) == 0o700


def test_of_many_ids_the_newest_are_kept() -> None:
    recent = Recent(Settings(OTHER))
    recent.add([f"old-{number}" for number in range(1000)])
    recent.add(["new"])
    assert (len(Recent(Settings(OTHER)).ids), Recent(Settings(OTHER)).ids[0]) == (1000, "new")
