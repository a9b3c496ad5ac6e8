"""The API as a process: API Gateway in front of a local Lambda, and the schedules of template.yaml.

Tells each request, and each line that a function writes, as a line of JSON on its standard output.
"""

import asyncio
import json
import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from local.api_gateway import Gateway, Told, access_log, config
from local.lambdas import LocalLambda
from local.processes import end_with_parent
from local.stack import gateway_options
from local.template import template

NOT_HERE = {"canary"}  # it calls Lambda's API, which nothing here speaks
GATHER = 0.05  # seconds in which lines come together
SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
untold: list[str] = []


def tell(kind: str, **facts: Any) -> None:
    """Tell this to whoever started the process, soon: many lines at once cost both much less."""
    if not untold:
        asyncio.get_running_loop().call_later(GATHER, tell_all)
    untold.append(json.dumps({"kind": kind} | facts) + "\n")


def tell_all() -> None:
    """Tell what is not told yet."""
    lines = "".join(untold).encode()
    untold.clear()
    with suppress(BrokenPipeError):  # its parent was killed, and this process ends, too
        while lines:  # a signal may end a write early
            lines = lines[os.write(1, lines) :]


def schedules() -> list[tuple[str, int]]:
    """The functions that the template invokes by themselves, and every how many seconds."""
    found = []
    for resource in template()["Resources"].values():
        function = Path(resource.get("Properties", {}).get("CodeUri", "")).name
        if function in NOT_HERE:
            continue
        for event in resource.get("Properties", {}).get("Events", {}).values():
            if event["Type"] in ("Schedule", "ScheduleV2"):
                properties = event["Properties"]
                expression = properties.get("ScheduleExpression") or properties["Schedule"]
                rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
                if not rate:
                    raise ValueError(f"the schedule {expression} is not understood here")
                found.append((function, int(rate[1]) * SECONDS[rate[2]]))
    return found


async def fire(functions: LocalLambda, function: str, seconds: int) -> None:
    """Invoke a function now, and again and again."""
    while True:
        began = time.monotonic()
        try:
            tell("scheduled", function=function, answer=await functions.invoke(function, {}))
        except Exception as error:  # whatever it is: the next run may do better
            tell("log", function=function, line=f"It was not run: {error}")
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))


class Server(uvicorn.Server):
    """Tells of the last requests once it has served them: the signal to end comes again then, and ends the process."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        tell_all()


async def serve(port: int) -> None:
    """Serve until the process is told to end."""
    of_request = access_log if os.environ.get("LOG") == "json" else Told._asdict

    def on_request(told: Told) -> None:
        tell("request", **of_request(told))

    def on_log(function: str, line: str) -> None:
        tell("log", function=function, line=line)

    async with LocalLambda({}, on_log=on_log) as functions:
        gateway = Gateway(functions.invoke, on_request=on_request, **gateway_options())
        firing = [asyncio.create_task(fire(functions, *each)) for each in schedules()]
        await Server(config(gateway, port)).serve()
        for each in firing:
            each.cancel()


def main(port: int) -> None:
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:  # uvloop, where there is one
        runner.run(serve(port))


if __name__ == "__main__":
    end_with_parent()
    main(int(os.environ["PORT"]))
