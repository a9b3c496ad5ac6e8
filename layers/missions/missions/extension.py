"""What is done after the response: a Lambda runtime extension inside the process.

Lambda sends a response to its caller as soon as the handler has returned, and leaves the sandbox running until each
extension asks for the next event. So events are published in between, and cost the caller nothing. Where there is no
Extensions API (AWS_LAMBDA_RUNTIME_API), they are published at once. When the sandbox is killed first, they are in the
outbox, and the relay publishes them.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from missions.emitter import logger

VERSION = "/2020-01-01/extension"
NAME = "missions-events"
MAX_AGE = 5.0  # seconds by the wall clock, as relay.MIN_AGE: after a thaw what is older is the relay's
PAUSE = 0.1  # seconds between attempts to reach the Extensions API

Task = Callable[[], None]


class Extension:
    """The extension of this sandbox. Its methods are called by the handler's thread, `_run` is its own."""

    def __init__(self, address: str) -> None:
        self._pending: list[tuple[float, Task]] = []
        self._ended: SimpleQueue[tuple[str, list[tuple[float, Task]]]] = SimpleQueue()
        self._connection = http.client.HTTPConnection(address)
        self._id = self._register()
        threading.Thread(target=self._run, name=NAME, daemon=True).start()

    def add(self, task: Task) -> None:
        """Do this once the response was sent."""
        self._pending.append((time.time(), task))

    def invocation_ended(self, request_id: str) -> None:
        """The handler of this invocation returns; what it added may begin."""
        pending, self._pending = self._pending, []
        self._ended.put((request_id, pending))

    def reconnect(self) -> None:
        """After a snapshot was restored: the connection of `_run` may be dead without its knowing; it makes another."""
        if self._connection.sock:
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def _register(self) -> str:
        body = json.dumps({"events": ["INVOKE"]})
        self._connection.request("POST", f"{VERSION}/register", body, {"Lambda-Extension-Name": NAME})
        response = self._connection.getresponse()
        response.read()
        identifier = response.getheader("Lambda-Extension-Identifier")
        if response.status != 200 or not identifier:
            raise ConnectionError(f"The Extensions API answered {response.status}")
        return identifier

    def _run(self) -> None:
        """Ask for an event, which says that all is done so far; without an end, or invocations would wait for it."""
        while True:
            try:
                self._connection.request(
                    "GET", f"{VERSION}/event/next", headers={"Lambda-Extension-Identifier": self._id}
                )
                response = self._connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise ConnectionError(f"The Extensions API answered {response.status}")
                invocation = json.loads(body)["requestId"]
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                logger.exception("The extension could not ask for its next event")
                self._connection.close()
                time.sleep(PAUSE)
                continue
            ended = ""
            while ended != invocation:  # one whose event was lost on the way ended before
                ended, pending = self._ended.get()
                for added, task in pending:
                    if time.time() - added < MAX_AGE:
                        self._do(task)

    def _do(self, task: Task) -> None:
        try:
            task()
        except Exception:
            logger.exception("What was left for after the response failed; its events stay in the outbox")
