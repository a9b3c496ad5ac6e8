"""python -m local.eventbridge api, or delivery: one of the two processes, until its standard input ends.

`local.processes.start` gives it a pipe, so neither outlives its parent. The settings are in the environment:

REDIS_URL       the Valkey server that keeps the events
EVENTS_PORT     where the API listens (only api)
EVENTS_ALSO     one more address to listen on, beside 127.0.0.1 (only api; may be missing)
DELIVERY_PORT   where moto listens, on 127.0.0.1, for the API alone
DELIVERY_KEY    what the API says to moto, so that nobody else is answered
"""

import os
import socket
import sys

from local.processes import end_with_parent


def main(part: str) -> None:
    """Run one of the two processes."""
    end_with_parent()
    redis_url, delivery_port = os.environ["REDIS_URL"], int(os.environ["DELIVERY_PORT"])
    key = os.environ["DELIVERY_KEY"]
    if part == "api":
        from local.eventbridge import api

        addresses = ["127.0.0.1", *filter(None, [os.environ.get("EVENTS_ALSO")])]
        port = int(os.environ["EVENTS_PORT"])
        sockets = [socket.create_server((address, port), backlog=1024) for address in addresses]
        api.serve(redis_url, delivery_port, key, sockets)
    else:
        from local.eventbridge import delivery

        delivery.serve(redis_url, delivery_port, key)


if __name__ == "__main__":
    main(*sys.argv[1:])
