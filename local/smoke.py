"""make smoke BASE_URL=...: whether a stack works, by a mission that it takes through its life and removes again."""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from requests.auth import AuthBase

from local.lines import console, safe
from local.stack import CannotStart, ports

NAME = "Smoke test"
PATIENCE = 10  # times that a request is sent while the API throttles, a second apart
WHY = {  # what a request can fail at, the special before the general
    requests.exceptions.SSLError: "its certificate is not accepted",
    requests.exceptions.Timeout: "it gives no answer within 30 seconds",
    requests.exceptions.ConnectionError: "there is no such host, or it takes no connection",
    requests.exceptions.InvalidSchema: "BASE_URL must begin with https:// or http://",
    requests.exceptions.MissingSchema: "BASE_URL must begin with https:// or http://",
    requests.exceptions.InvalidURL: "BASE_URL is no URL",
}
PROBLEM = {"content-type": "application/problem+json"}
LOG = ["Mission created", "Mission status changed", "halfway", "Mission status changed"]


class Surprise(Exception):
    """An answer that is not as it should be; the message is for people."""


class Signed(AuthBase):
    """Signs requests as IAM asks for it."""

    def __init__(self, credentials: Any, region: str) -> None:
        self._signer = SigV4Auth(credentials, "execute-api", region)

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        request = AWSRequest(prepared.method, prepared.url, data=prepared.body)
        self._signer.add_auth(request)
        prepared.headers.update(dict(request.headers.items()))
        return prepared


class Bearer(AuthBase):
    """Sends a token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers["Authorization"] = f"Bearer {self._token}"
        return prepared


def sign_in(url: str, token: str) -> AuthBase | None:
    """How to sign in at this URL: with the token, with the caller's credentials in AWS, or not at all."""
    if token:
        return Bearer(token)
    host = re.fullmatch(r"[^.]+\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?", urlsplit(url).hostname or "")
    if not host:
        return None
    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise CannotStart("There are no credentials to sign with: aws sso login, aws configure, or TOKEN=...")
    return Signed(credentials, host[1])


class Smoke:
    """The requests to one stack, each told with the time that it took."""

    def __init__(self, url: str, auth: AuthBase | None) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.auth = auth
        self.tag = ""  # of the last answer

    def step(
        self,
        what: str,
        line: str,
        body: Any = None,
        *,
        status: int = 200,
        sent: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        members: dict[str, Any] | None = None,
        holds: tuple[str, Callable[[Any], bool]] | None = None,
    ) -> Any:
        """Send one request. Raises Surprise unless status, headers and members of the answer are as expected."""
        method, path = line.split(" ", 1)
        for _ in range(PATIENCE):
            began = time.monotonic()
            response = self._session.request(
                method, f"{self._url}/api/missions{path}", json=body, headers=sent, timeout=30, allow_redirects=False
            )
            if response.status_code != 429:
                break
            time.sleep(1)  # it throttles
        milliseconds = (time.monotonic() - began) * 1000
        self.tag = response.headers.get("etag", "an entity tag")
        headers, members = headers or {}, members or {}
        words, right = holds or ("", lambda _: True)
        try:
            answer = response.json() if response.content else {}
            good = all(answer[name] == value for name, value in members.items()) and right(answer)
        except (ValueError, KeyError, TypeError):
            answer, good = None, False
        good &= response.status_code == status
        good &= all(response.headers.get(name) == value for name, value in headers.items())
        if not good:
            wanted = [str(status), *(f"{name}: {value}" for name, value in headers.items())]
            wanted += [json.dumps(members)] if members else []
            came = [str(response.status_code), *(f"{name}: {response.headers.get(name)}" for name in headers)]
            raise Surprise(
                f"{what}\n"
                f"  asked     {method} /api/missions{path} {json.dumps(body) if body else ''} {sent or ''}\n"
                f"  expected  {', '.join([*wanted, words] if words else wanted)}\n"
                f"  came      {', '.join([*came, response.text[:1000]])}"
            )
        console.print(f"[green]ok[/] {milliseconds:>7,.0f} ms  {what}")
        return answer

    def play(self) -> None:
        """A mission from PENDING to COMPLETED, and its next attempt. Raises Surprise."""
        self.step("the API describes itself", "GET /openapi.json", members={"openapi": "3.1.0"})
        label = str(uuid4())  # so that it is found, and no other is taken
        key, new = (
            {"Idempotency-Key": str(uuid4())},
            {"name": NAME, "description": "made by make smoke", "tags": [label]},
        )
        mission = self.step(
            "a mission is created", "POST ", new, sent=key, status=201, members={**new, "status": "PENDING"}
        )
        replayed = {"idempotency-replayed": "true"}
        self.step(
            "the same request makes no second one",
            "POST ",
            new,
            sent=key,
            status=201,
            headers=replayed,
            members=mission,
        )
        own, tag = f"/{mission['id']}", self.tag
        self.step("it is read, with its version", f"GET {own}", headers={"etag": tag}, members=mission)
        self.step("it has not changed since", f"GET {own}", sent={"If-None-Match": tag}, status=304)
        running, only_it = {"status": "RUNNING"}, {"tags": [label]}
        self.step("a worker takes it", "POST /claim", only_it, members={"id": mission["id"], **running})
        self.step("it shows a sign of life", f"POST {own}/heartbeat", {"progress": 0.5}, members=running)
        entry = {"level": "info", "message": LOG[2]}
        self.step("an entry is added to its log", f"POST {own}/log", entry, status=201, members=entry)
        done = {"status": "COMPLETED"}
        self.step("it is completed", f"POST {own}/status", done, members={**done, "version": 3})
        self.step(
            "it cannot run again",
            f"POST {own}/status",
            running,
            status=409,
            headers=PROBLEM,
            members={"current_status": "COMPLETED"},
        )
        self.step(
            "its log tells its life",
            f"GET {own}/log",
            holds=(f"these messages: {LOG}", lambda answer: [each["message"] for each in answer["log"]] == LOG),
        )
        self.step(
            "it is found by its tag",
            f"GET ?status=COMPLETED&tag={label}",
            holds=(
                f"one mission, with the id {mission['id']}",
                lambda answer: [each["id"] for each in answer["missions"]] == [mission["id"]],
            ),
        )
        self.step(
            "it is counted",
            "GET /stats/overview",
            holds=("one COMPLETED or more", lambda answer: answer["stats"]["by_status"]["COMPLETED"] >= 1),
        )
        self.step(
            "it is in the history",
            "GET /stats/history",
            holds=("one created or more", lambda answer: sum(each["created"] for each in answer["history"]) >= 1),
        )
        matching = {"filter": {"status": ["COMPLETED"], "tags": [label]}}
        cancelled = {"results": [{"id": mission["id"], "outcome": "cancelled", "detail": None}]}
        self.step("it is cancelled by its tag", "POST /cancel", matching, members=cancelled)
        attempt = {"retry_of": mission["id"], "attempt": 2, "status": "PENDING"}
        second = self.step("it gets its next attempt", f"POST {own}/retry", status=201, members=attempt)
        self.step("there is no other with its id", f"GET {own}-x", status=404, headers=PROBLEM, members={"status": 404})
        self.step("it is removed", f"DELETE {own}", status=204)
        self.step("it is gone", f"GET {own}", status=410, headers=PROBLEM, members={"code": "mission_removed"})
        end, of_it = {"status": "CANCELLED"}, f"/{second['id']}"
        self.step("its next attempt is cancelled", f"POST {of_it}/status", end, members=end)
        self.step("its next attempt is removed", f"DELETE {of_it}", status=204)
        console.print("[bold green]The stack works.[/] What was made there is removed again.")


def run(url: str, token: str = "", only_health: bool = False) -> int:
    """Try a stack; 0 when it works."""
    url = url.rstrip("/")
    console.print(f"Trying {safe(url)}")
    try:
        smoke = Smoke(url, sign_in(url, token))
        smoke.step("the store answers", "GET /health", members={"status": "ok"})
        if not only_health:
            smoke.play()
        return 0
    except Surprise as surprise:
        console.print(f"[red]Not as expected:[/] {safe_lines(surprise)}")
        if "the store answers" in str(surprise):
            console.print("Is this a Missions? BASE_URL is the output ApiUrl of its stack, without /api/missions.")
        elif re.search(r"came      (401|403)", str(surprise)):
            console.print("Callers have to sign in there: TOKEN=..., or credentials that may execute-api:Invoke.")
    except CannotStart as error:
        console.print(f"[red]{safe(error)}[/]")
    except BotoCoreError as error:
        console.print(f"[red]The request cannot be signed:[/] {safe(error)}")
    except requests.RequestException as error:
        why = next((words for kind, words in WHY.items() if isinstance(error, kind)), type(error).__name__)
        console.print(f"[red]No stack answers at {safe(url)}:[/] {why}. On this machine make run starts one.")
    return 1


def safe_lines(text: object) -> str:
    """Text of several lines within markup."""
    return "\n".join(map(safe, str(text).split("\n")))


def main(url: str) -> int:
    """Try the stack at this URL; `local` is the one that runs in this folder."""
    if url == "local":
        try:
            url = f"http://127.0.0.1:{ports()['PORT']}"
        except CannotStart as error:
            console.print(f"[red]{safe(error)}[/]")
            return 1
    return run(url, os.environ.get("TOKEN", ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
