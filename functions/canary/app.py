"""On a schedule: call every function of the API, to see that each one works and to keep each one awake.

A SnapStart version that nobody invokes for 14 days becomes inactive, and answers with an error until it is built again.
The canary invokes the functions directly, which works with every sign-in. It asks the one open route over HTTPS, too:
that shows API Gateway. Each run leaves a mission (1 KB) in the namespace `canary`, as no function deletes missions.
"""

import json
import os
from contextlib import closing
from typing import Any
from uuid import uuid4

import boto3
import urllib3
from botocore.config import Config
from missions.log import log_context, logger

LIMITS = Config(connect_timeout=3, read_timeout=12, retries={"total_max_attempts": 1})  # a function may take 10 seconds
MISSION, HEALTH = "/api/missions/{mission_id}", "/api/missions/health"


def steps(mission: dict[str, str]) -> list[tuple[str, str, int, Any, dict[str, Any]]]:
    """Function, route, the status that it must answer, what the answer must hold, and more of the event."""
    running, completed, entry = {"status": "RUNNING"}, {"status": "COMPLETED"}, {"message": "The canary sings"}
    return [
        ("create_mission", "POST /api/missions", 201, {"status": "PENDING"}, {"body": json.dumps(mission)}),
        ("get_mission", f"GET {MISSION}", 200, mission, {}),
        ("update_status", f"POST {MISSION}/status", 200, running, {"body": json.dumps(running)}),
        ("append_log_entry", f"POST {MISSION}/log", 201, entry, {"body": json.dumps(entry)}),
        ("update_status", f"POST {MISSION}/status", 200, completed, {"body": json.dumps(completed)}),
        ("get_log", f"GET {MISSION}/log", 200, {"log": [{}, {}, entry, {}]}, {}),
        ("list_missions", "GET /api/missions", 200, {"missions": [mission]}, {"queryStringParameters": {"limit": "1"}}),
        ("get_stats", "GET /api/missions/stats/overview", 200, {"stats": {"by_status": {"FAILED": 0}}}, {}),
        ("get_openapi", "GET /api/missions/openapi.json", 200, {"openapi": "3.1.0"}, {}),
        ("health", f"GET {HEALTH}", 200, {"status": "ok"}, {}),
    ]


def handler(event: Any, context: Any) -> None:
    """Take every step, also after one that failed. Raises RuntimeError, which names each one that failed."""
    log_context.clear_state()
    arns, mission, failures = json.loads(os.environ["FUNCTIONS"]), {"id": f"canary-{uuid4()}", "name": "Canary"}, []
    with closing(boto3.client("lambda", config=LIMITS)) as client, urllib3.PoolManager() as web:
        for function, route, status, holds, more in [*steps(mission), ("", f"GET {HEALTH}", 200, {"status": "ok"}, {})]:
            try:
                if function:
                    came = invoke(client, arns[function], route, mission["id"], more)
                else:
                    reply = web.request("GET", os.environ["API_URL"] + HEALTH, timeout=12, retries=False)
                    came = reply.status, reply.data.decode()
                good = came[0] == status and includes(json.loads(came[1]), holds)
            except Exception as error:  # whatever it is: the other functions must be called, too
                good, came = False, (type(error).__name__, str(error))
            if not good:
                failures.append(f"{function or 'API Gateway'} ({route}): expected {status} with {holds}, came {came}")
    if failures:
        raise RuntimeError("\n".join(failures))
    logger.info("Every function answers", mission_id=mission["id"])


def invoke(client: Any, arn: str, route: str, mission_id: str, more: dict[str, Any]) -> tuple[Any, str]:
    """The status (or the kind of error) and the body that a function answers to a request, as API Gateway makes it."""
    method, path = route.replace("{mission_id}", mission_id).split()
    gateway: Any = {"requestId": str(uuid4()), "routeKey": route, "http": {"method": method, "path": path}}
    sent = {"version": "2.0", "routeKey": route, "rawPath": path, "headers": {}, "requestContext": gateway}
    sent |= {"pathParameters": {"mission_id": mission_id}, "isBase64Encoded": False, "namespace": "canary"} | more
    reply = client.invoke(FunctionName=arn, Payload=json.dumps(sent))
    answer = json.load(reply["Payload"])
    return reply.get("FunctionError") or answer["statusCode"], answer.get("body") or json.dumps(answer)


def includes(came: Any, part: Any) -> bool:
    """Whether an answer has what it must hold; lists must be equally long."""
    if isinstance(part, dict):
        return isinstance(came, dict) and all(includes(came.get(name), value) for name, value in part.items())
    if isinstance(part, list):
        return isinstance(came, list) and len(came) == len(part) and all(map(includes, came, part))
    return bool(came == part)
