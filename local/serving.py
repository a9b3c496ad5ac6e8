"""What the HTTP servers here share: they are quiet, and X-Forwarded-For makes them believe nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


def config(app: Any, **more: Any) -> uvicorn.Config:
    """How to serve this application, with more options of uvicorn's."""
    quiet: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_level": "error", "access_log": False}
    return uvicorn.Config(app, **quiet, proxy_headers=False, server_header=False, **more)


class Server(uvicorn.Server):
    """A server within a process whose signals are for somebody else."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
