"""On a schedule: call every function of the API, to see that each one works and to keep each one awake.

A SnapStart version that nobody invokes for 14 days becomes inactive, and answers with an error until it is built again.
The canary invokes the functions directly, which works with every sign-in. It asks the one open route over HTTPS, too:
that shows API Gateway. A run removes its missions from the namespace `canary`. What a run that failed leaves there is
ended by its deadline, and removed by its retention.
"""

import json
import os
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, NamedTuple
from uuid import uuid4

import boto3
import urllib3
from botocore.config import Config
from missions.log import log_context, logger

LIMITS = Config(connect_timeout=3, read_timeout=12, retries={"total_max_attempts": 1})  # a function may take 10 seconds
MISSIONS, HEALTH = "/api/missions", "/api/missions/health"
MISSION = f"{MISSIONS}/{{mission_id}}"
HOUR = 3600  # seconds


class Step(NamedTuple):
    """A request to a function: its route, the status that it must answer, and what the answer must hold.

    `body` is sent as JSON, and `query` is the query string. An answer is JSON, unless `holds` is a piece of its text.
    """

    function: str
    route: str
    mission_id: str
    status: int
    holds: Any
    body: dict[str, Any] | None = None
    query: dict[str, str] | None = None


def steps(own: str, deadline: int) -> Generator[Step, Any, None]:
    """The life of a mission and of its next attempt; each step is told the answer to the one before, or None."""
    # Its id is its tag, too, so that the canary takes, finds and cancels no other
    mission = {"id": own, "name": "Canary", "tags": [own], "deadline": deadline, "retention": HOUR}
    running, completed, entry = {"status": "RUNNING"}, {"status": "COMPLETED"}, {"message": "The canary sings"}
    yield Step("create_mission", f"POST {MISSIONS}", own, 201, {"status": "PENDING"}, mission)
    yield Step("get_mission", f"GET {MISSION}", own, 200, mission)
    yield Step("claim_mission", f"POST {MISSIONS}/claim", own, 200, {"id": own, **running}, {"tags": [own]})
    yield Step("heartbeat", f"POST {MISSION}/heartbeat", own, 200, running, {"progress": 0.5})
    yield Step("append_log_entry", f"POST {MISSION}/log", own, 201, entry, entry)
    yield Step("get_log", f"GET {MISSION}/log", own, 200, {"log": [{}, {}, entry]})
    cancelled = {"results": [{"id": own, "outcome": "cancelled"}]}
    yield Step("cancel_missions", f"POST {MISSIONS}/cancel", own, 200, cancelled, {"filter": {"tags": [own]}})
    retried = yield Step("retry_mission", f"POST {MISSION}/retry", own, 201, {"retry_of": own, "attempt": 2})
    yield Step("delete_mission", f"DELETE {MISSION}", own, 204, {})
    second = retried["id"] if retried else own  # without it the functions are called all the same
    yield Step("update_status", f"POST {MISSION}/status", second, 200, running, running)
    yield Step("update_status", f"POST {MISSION}/status", second, 200, completed, completed)
    listed = {"missions": [{"id": second, **completed}]}
    yield Step("list_missions", f"GET {MISSIONS}", second, 200, listed, query={"tag": own})
    yield Step("delete_mission", f"DELETE {MISSION}", second, 204, {})
    yield Step("get_stats", f"GET {MISSIONS}/stats/overview", own, 200, {"stats": {"by_status": {}}})
    yield Step("get_history", f"GET {MISSIONS}/stats/history", own, 200, {"step": "hour"})
    yield Step("get_openapi", f"GET {MISSIONS}/openapi.json", own, 200, {"openapi": "3.1.0"})
    yield Step("get_console", "GET /console", own, 200, "<title>Missions</title>")
    yield Step("health", f"GET {HEALTH}", own, 200, {"status": "ok"})
    yield Step("", f"GET {HEALTH}", own, 200, {"status": "ok"})


def handler(event: Any, context: Any) -> None:
    """Take every step, also after one that failed. Raises RuntimeError, which names each one that failed."""
    log_context.clear_state()
    arns, own, failures = json.loads(os.environ["FUNCTIONS"]), f"canary-{uuid4()}", []
    with closing(boto3.client("lambda", config=LIMITS)) as client, urllib3.PoolManager() as web:
        life = steps(own, int(time.time()) + HOUR)
        step: Step | None = next(life)
        while step:
            answer = None
            try:
                if step.function:
                    came = invoke(client, arns[step.function], step)
                else:
                    reply = web.request("GET", os.environ["API_URL"] + HEALTH, timeout=12, retries=False)
                    came = reply.status, reply.data.decode()
                if came[0] == step.status:
                    answer = read(step, came[1])
            except Exception as error:  # whatever it is: the other functions must be called, too
                came = type(error).__name__, str(error)
            if answer is None:
                wanted = f"expected {step.status} with {step.holds}, came {came}"
                failures.append(f"{step.function or 'API Gateway'} ({step.route}): {wanted}")
            try:
                step = life.send(answer)
            except StopIteration:
                step = None
    if failures:
        raise RuntimeError("\n".join(failures))
    logger.info("Every function answers", mission_id=own)


def invoke(client: Any, arn: str, step: Step) -> tuple[Any, str]:
    """The status (or the kind of error) and the body that a function answers to a request, as API Gateway makes it."""
    method, path = step.route.replace("{mission_id}", step.mission_id).split()
    gateway: Any = {"requestId": str(uuid4()), "routeKey": step.route, "http": {"method": method, "path": path}}
    sent = {"version": "2.0", "routeKey": step.route, "rawPath": path, "headers": {}, "requestContext": gateway}
    sent |= {"pathParameters": {"mission_id": step.mission_id}, "isBase64Encoded": False, "namespace": "canary"}
    sent |= {"body": json.dumps(step.body)} if step.body else {}
    sent |= {"queryStringParameters": step.query} if step.query else {}
    reply = client.invoke(FunctionName=arn, Payload=json.dumps(sent))
    answer = json.load(reply["Payload"])
    return reply.get("FunctionError") or answer["statusCode"], answer.get("body") or json.dumps(answer)


def read(step: Step, body: str) -> Any:
    """The answer, or None if it lacks what it must hold."""
    if isinstance(step.holds, str):
        return body if step.holds in body else None
    told = json.loads(body)
    return told if includes(told, step.holds) else None


def includes(came: Any, part: Any) -> bool:
    """Whether an answer has what it must hold; lists must be equally long."""
    if isinstance(part, dict):
        return isinstance(came, dict) and all(includes(came.get(name), value) for name, value in part.items())
    if isinstance(part, list):
        return isinstance(came, list) and len(came) == len(part) and all(map(includes, came, part))
    return bool(came == part)
