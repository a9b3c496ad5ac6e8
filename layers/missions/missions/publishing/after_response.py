"""What is done after the response: a Lambda runtime extension inside the process.

Lambda sends a response to its caller as soon as the runtime has posted it, and leaves the sandbox running until each
extension asks for the next event. So events are published in between, and cost the caller nothing. When the sandbox is
killed first, they are in the outbox, and the relay publishes them.
"""

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from missions.log import logger

VERSION = "/2020-01-01/extension"
NAME = "missions-events"
MAX_AGE = 5.0  # seconds by the wall clock, as relay.MIN_AGE: after a thaw what is older is the relay's
PAUSE = 0.1  # seconds between attempts to reach the Extensions API

Task = Callable[[], None]


class Extension:
    """The extension of this sandbox, registered while Lambda initialises it. Raises OSError where that is refused."""

    def __init__(self, address: str) -> None:
        self._added: list[tuple[float, Task]] = []
        self._ended: SimpleQueue[tuple[str, list[tuple[float, Task]]]] = SimpleQueue()
        self._connection = http.client.HTTPConnection(address)
        self._id = self._register()
        self._follows_runtime = self._follow_runtime()
        threading.Thread(target=self._run, name=NAME, daemon=True).start()

    def add(self, task: Task) -> None:
        """Do this once the response was sent."""
        self._added.append((time.time(), task))

    def handler_ended(self, request_id: str) -> None:
        """The handler returns, or raises. Only where the runtime cannot be followed this has to do as the signal."""
        if not self._follows_runtime:
            self._end(request_id)

    def _end(self, request_id: str) -> None:
        added, self._added = self._added, []
        self._ended.put((request_id, added))

    def _follow_runtime(self) -> bool:
        """Make the runtime say when it asks for its next invocation: then it has posted the response to the last one.

        A thread that begins earlier gets in the way of the response: the runtime posts it with the GIL held.
        """
        client = getattr(sys.modules.get("awslambdaric.lambda_runtime_client"), "LambdaRuntimeClient", None)
        wait = getattr(client, "wait_next_invocation", None)
        if client is None or wait is None:
            return False
        request_id = ""

        def wait_next_invocation(self_: Any) -> Any:
            nonlocal request_id
            if request_id:
                self._end(request_id)
            request = wait(self_)
            request_id = request.invoke_id
            return request

        client.wait_next_invocation = wait_next_invocation
        return True

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
        """Ask for the next invocation, which says that all is done so far; when it has ended, do what was added."""
        while True:
            invocation = self._next()
            ended = None
            while ended != invocation:  # one whose event was lost on the way ended before
                ended, added = self._ended.get()
                for since, task in added:
                    if time.time() - since < MAX_AGE:
                        self._do(task)

    def _next(self) -> str:
        """The id of the next invocation. Asks until it is told: an extension that stops holds every invocation up."""
        told = False
        while True:
            try:
                self._connection.request(
                    "GET", f"{VERSION}/event/next", headers={"Lambda-Extension-Identifier": self._id}
                )
                response = self._connection.getresponse()
                body = response.read()
                if response.status != 200:
                    raise ConnectionError(f"The Extensions API answered {response.status}")
                return str(json.loads(body)["requestId"])
            except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
                if not told:  # once: Lambda may refuse it until an invocation has ended
                    logger.exception("The extension could not ask for its next event; it asks again")
                told = True
                self._connection.close()
                time.sleep(PAUSE)

    def _do(self, task: Task) -> None:
        try:
            task()
        except Exception:
            logger.exception("What was left for after the response failed; its events stay in the outbox")
