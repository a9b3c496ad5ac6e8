"""A double of the API that fails as it is told to, and refuses what the API would refuse (docs/api.md).

Of the published rules it keeps these. What breaks one of them fails the test, too:

- Every POST but the heartbeat has an Idempotency-Key of 1 to 255 printable ASCII characters; a heartbeat has none.
- A key belongs to one method, path and body. A repeat gets the first answer, and takes effect once.
- A body is JSON of at most 256 KiB, and says so. A log request has 1 to 100 entries, each message 1 byte to 8 KiB of
  UTF-8 without U+0000.
- There are only the documented routes; unknown parameters are refused.
"""

import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

MISSION: dict[str, Any] = {
    "id": "job", "name": "Job", "description": "", "data": {}, "status": "PENDING", "reason": None, "version": 1,
    "created_at": 1.5, "updated_at": 1.5, "active_at": 1.5, "started_at": None, "finished_at": None, "duration": None,
    "progress": None, "note": None, "worker": None, "attempt": 1, "retry_of": None, "next_attempt": None, "tags": [],
    "timeout": None, "heartbeat_timeout": None, "deadline": None, "not_before": None, "retries": 0, "backoff": 0,
    "retention": None,
}  # fmt: skip
ROUTES = {
    "POST": r"(/claim|/cancel|/[^/]+/(heartbeat|status|retry|log))?",
    "GET": r"(/stats/(overview|history)|/health|/[^/]+(/log)?)?",
    "DELETE": r"/[^/]+",
}
PARAMETERS = {
    "status", "tag", "name", "overdue", "created_after", "created_before", "order", "limit", "cursor", "level", "from",
    "to", "step",
}  # fmt: skip


@dataclass
class Asked:
    """A request that arrived. `body` is None if it was not read."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass
class Say:
    """An answer. `effect`: the request takes effect before, and `cut`: the body ends too early."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    effect: bool = False


@dataclass
class Break:
    """The connection is reset: before the request is read, or after it took effect."""

    effect: bool = False


@dataclass
class Wait:
    """The usual answer, so many seconds too late. The request takes effect."""

    seconds: float


Step = Say | Break | Wait
BUSY = Say(503, {"code": "store_unavailable", "detail": "The store did not answer."}, {"Retry-After": "0"})


def problem(status: int, code: str, detail: str = "No.", **members: Any) -> Say:
    """A refusal of the API."""
    return Say(status, {"status": status, "code": code, "detail": detail, "request_id": "r1", **members})


class Double(ThreadingHTTPServer):
    """The double. `will` says what comes next; after that it answers as usual, with `missions` and `entries`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[Asked] = []
        self.broken: list[str] = []  # rules
        self.steps: deque[Step | None] = deque()
        self.rule: Callable[[Asked], Step | None] = lambda asked: None  # what comes for a request, if no step does
        self.entries: list[dict[str, Any]] = []  # of the one log
        self.mission: dict[str, Any] = dict(MISSION)
        self.answers: dict[str, tuple[tuple[str, str, Any], Say]] = {}  # by key: the request, and its first answer
        self.lock = threading.RLock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        assert self.broken == []

    def will(self, *steps: Step | None) -> None:
        """Answer the next requests like this; None is the usual answer."""
        self.steps.extend(steps)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client may go away at any time."""

    def next_step(self, asked: Asked) -> Step | None:
        with self.lock:
            if self.steps:
                return self.steps.popleft()
        return self.rule(asked)

    def usual(self, asked: Asked) -> Say:
        """What the API would answer; a key that was used gets its first answer."""
        with self.lock:
            if (wrong := self._wrong(asked)) is not None:
                self.broken.append(f"{asked.method} {asked.path}: {wrong}")
                return problem(422, "validation_failed", wrong)
            request = (asked.method, asked.path, asked.json)
            if asked.key in self.answers:
                before, first = self.answers[asked.key]
                if before == request:
                    return first
                self.broken.append(f"the key {asked.key} was used for another request")
                return problem(422, "idempotency_key_reused")
            answer = self._effect(asked)
            if asked.key is not None and answer.status != 204:
                self.answers[asked.key] = request, answer
            return answer

    def _effect(self, asked: Asked) -> Say:
        last = asked.path.rpartition("/")[2]
        body = asked.json or {}
        if last == "heartbeat":
            self.mission |= {name: body[name] for name in ("progress", "note") if name in body}
            keep = ("id", "status", "reason", "version", "worker", "active_at")
            return Say(200, {name: self.mission[name] for name in keep} | {"next_before": None})
        if last == "claim":
            return Say(204)
        if asked.method == "DELETE":
            return Say(204)
        if last == "log" and asked.method == "POST":
            made = [
                {"timestamp": 2.0, "level": each.get("level", "info"), "message": each["message"],
                 "data": each.get("data", {})}
                for each in body["entries"]
            ]  # fmt: skip
            self.entries += made
            return Say(201, {"entries": made})
        if last == "log":
            start = int(asked.query.get("cursor", ["0"])[0])
            end = min(len(self.entries), start + int(asked.query.get("limit", ["50"])[0]))
            more = str(end) if end < len(self.entries) else None
            page = {"mission_id": "job", "log": self.entries[start:end], "next_cursor": more, "poll_cursor": str(end)}
            return Say(200, page)
        if last == "status":
            self.mission |= {"status": body["status"], "reason": body.get("reason")}
            self.mission["version"] += 1
            return Say(200, dict(self.mission))
        if asked.method == "POST":
            self.mission = MISSION | body
            return Say(201, dict(self.mission))
        return Say(200, dict(self.mission))

    def _wrong(self, asked: Asked) -> str | None:
        """Which rule a request breaks."""
        route = re.fullmatch(rf"/api/missions{ROUTES[asked.method]}", asked.path)
        if not route:
            return "there is no such route"
        if unknown := set(asked.query) - PARAMETERS:
            return f"unknown parameters {unknown}"
        keyed = asked.method == "POST" and not asked.path.endswith("/heartbeat")
        if keyed != (asked.key is not None):
            return "an Idempotency-Key is missing, or is where none belongs"
        if asked.key is not None and not re.fullmatch(r"[\x20-\x7e]{1,255}", asked.key):
            return "the Idempotency-Key is not 1 to 255 printable ASCII characters"
        body = asked.body or b""
        if body and asked.headers.get("content-type") != "application/json":
            return "the body is not declared as JSON"
        if len(body) > 256 * 1024:
            return "the body is more than 256 KiB"
        if asked.method == "POST" and asked.path.endswith("/log"):
            entries = asked.json["entries"]
            if not 1 <= len(entries) <= 100:
                return f"{len(entries)} entries"
            for each in entries:
                if not 1 <= len(each["message"].encode()) <= 8192 or "\0" in each["message"]:
                    return "a message that is empty, too long, or has U+0000"
        return None


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Double
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True  # or a second part of an answer would wait for the first one's ACK

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, None)
        self.server.asked.append(asked)
        step = self.server.next_step(asked)
        if isinstance(step, Break) and not step.effect:
            return self._reset()
        asked.body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if step is None or isinstance(step, Wait) or step.effect:
            usual = self.server.usual(asked)
            step = usual if step is None else step
        else:
            usual = Say()
        if isinstance(step, Break):
            return self._reset()
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            step = usual
        return self._send(step)

    do_POST = do_DELETE = do_GET

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _send(self, say: Say) -> None:
        content = b"" if say.body is None else say.body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(say.status)
        kinds = {"Content-Type": "application/json"} | say.headers
        for name, value in kinds.items():
            self.send_header(name, value)
        if say.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if say.cut else content)
        self.wfile.flush()
        self.close_connection = self.close_connection or say.cut

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
