"""console, open."""

from typing import Any

import click

from missions_client.cli.missions import ID
from missions_client.cli.session import Session

PATIENCE = 5.0  # seconds for the description of the console


@click.command("console")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to serve, for signed requests.")
@click.pass_obj
def console_(session: Session, port: int) -> None:
    """Open the console in a browser.

    An API that wants signed requests is served on this machine, until Ctrl-C, with your credentials. So is one with
    --stack, which has the page for operators.
    """
    _show(session, "/", port)


@click.command("open")
@ID
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to serve, for signed requests.")
@click.pass_obj
def open_(session: Session, mission_id: str, port: int) -> None:
    """Open the page of a mission in a browser."""
    with session.client() as client:
        found = client.get(session.find(client, mission_id)).id  # no page of a mission that does not exist
    _show(session, f"/missions/{found}", port)


def _show(session: Session, page: str, port: int) -> None:
    if session.flags.get("stack") or _wants_signatures(session):
        return _serve(session, page, port)
    address = f"{session.settings.url}/console#{page}"
    session.say(address)
    if session.terminal:
        import webbrowser

        webbrowser.open(address)
    return None


def _wants_signatures(session: Session) -> bool:
    """Whether a browser alone can do nothing there: the page knows no place to sign in, and requests are signed."""
    import httpx

    from missions_client import transport
    from missions_client.auth import SigV4

    settings = session.settings
    try:
        answer = httpx.get(f"{settings.url}/console/config.json", timeout=PATIENCE)
        config: Any = transport.answer(answer.status_code, answer.headers, answer.content)
    except httpx.RequestError as error:
        raise transport.unreachable(settings.url, error) from None
    return not (isinstance(config, dict) and config.get("client_id")) and isinstance(session.auth, SigV4)


def _serve(session: Session, page: str, port: int) -> None:
    from missions_client.cli.operators import operator
    from missions_client.console import Server

    settings = session.settings
    operate = operator(session) if settings.stack else None
    try:
        server = Server(port, settings.url, session.auth, operate)
    except OSError as error:
        raise click.UsageError(f"Port {port} cannot be used ({error.strerror}); 0 takes a free one") from None
    with server:
        session.say(f"The console of {settings.url}, with your credentials: {server.address(page)}")
        session.say("Who has this address acts as you. Ctrl-C ends it.")
        server.serve_forever()
