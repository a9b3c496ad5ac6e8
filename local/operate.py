"""make operate: ask the operator function of the running stack, as `aws lambda invoke` does."""

import json
import os
import sys
from typing import Any

import requests
from botocore.exceptions import EndpointConnectionError
from missions.domain.errors import StoreUnavailable

from local.lines import console, safe
from local.runtime_client import Context
from local.stack import CannotStart, environment, ports


def invoke(payload: dict[str, Any]) -> Any:
    """Run the function in this process, with the settings of the stack."""
    at = ports()
    requests.get(f"http://127.0.0.1:{at['PORT']}/api/missions/health", timeout=10).raise_for_status()
    redis_url, endpoint = f"redis://127.0.0.1:{at['REDIS_PORT']}", f"http://127.0.0.1:{at['EVENTS_PORT']}"
    os.environ.update(environment(redis_url, endpoint))
    from functions.operate_events import app

    return app.handler(payload, Context("operate_events"))


def main(payload: str) -> int:
    """Invoke with a payload in JSON and show the answer."""
    try:
        answer = invoke(json.loads(payload))
    except json.JSONDecodeError as error:
        console.print(
            f'[red]The payload is not JSON: {error}.[/] For example: make operate PAYLOAD=\'{{"action": "list"}}\''
        )
        return 1
    except CannotStart as error:
        console.print(f"[red]{safe(error)}[/]")
        return 1
    except (StoreUnavailable, EndpointConnectionError, requests.RequestException):
        console.print("[red]No stack answers.[/] Start one in another shell: make run")
        return 1
    console.print_json(data=answer)
    return int("error" in answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
