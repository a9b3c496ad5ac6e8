"""What one sandbox holds: settings, store, outbox, emitter. One object, made here; a test replaces it whole."""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from missions.domain import words
from missions.domain.errors import StoreUnavailable
from missions.domain.events import OutboxEntry
from missions.log import logger
from missions.publishing.emitter import Emitter, EventStream
from missions.settings import Settings
from missions.storage.connection import Connection, connect, credentials
from missions.storage.due import DueMissions
from missions.storage.outbox import Outbox
from missions.storage.store import Store
from missions.storage.views import Views

if TYPE_CHECKING:
    from missions.archive import Archive
    from missions.publishing.after_response import Extension


class Runtime:
    """Each part is made at its first use. In Lambda what asks nobody is made before the first request: see `prepare`.

    `settings` are those of the environment by default.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings
        self._extension: Extension | None = None

    @cached_property
    def settings(self) -> Settings:
        """Raises StoreUnavailable, with a line in the log, when the environment names no store, or is wrong."""
        try:
            return self._given or Settings.from_environment()
        except ValidationError as error:
            found = error.errors(include_input=False)
            problems = [" ".join([*(str(name).upper() for name in each["loc"]), words.of(each)]) for each in found]
            logger.error("The environment of this function is wrong", problems=problems)
        raise StoreUnavailable  # not from the error, which holds the environment

    @cached_property
    def credentials(self) -> Any:
        """How to sign in to the store; None where its URL says it. Raises StoreUnavailable."""
        return credentials(self.settings)

    @cached_property
    def connection(self) -> Connection:
        """Raises StoreUnavailable; the next request tries again."""
        return connect(self.settings, self.credentials)

    @cached_property
    def store(self) -> Store:
        return Store(self.connection, self.settings.idempotency_key_life, self.settings.keep)

    @cached_property
    def views(self) -> Views:
        return Views(self.connection, self.due)

    @cached_property
    def due(self) -> DueMissions:
        return DueMissions(self.connection, self.settings.keep)

    @cached_property
    def archive(self) -> "Archive | None":
        """Where missions are written before their retention removes them; None where no bucket is named."""
        if not self.settings.archive_bucket:
            return None
        from missions.archive import Archive  # boto3 costs half a second

        return Archive(self.settings.archive_bucket, self.settings.aws_region)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.connection)

    @cached_property
    def emitter(self) -> Emitter:
        bus, region = self.settings.event_bus_name, self.settings.aws_region
        if not bus:
            logger.warning("EVENT_BUS_NAME is not set: no events are kept or published")
            return Emitter(None)

        def event_bridge() -> EventStream:
            from missions.publishing.eventbridge import EventBridge  # botocore costs 200 ms, after the first response

            return EventBridge(bus, region)

        return Emitter(event_bridge)

    def set_event_stream(self, stream: EventStream | None) -> None:
        """Publish to this stream; None goes back to the bus that the settings name."""
        if stream is not None:
            self.emitter = Emitter(lambda: stream)
        else:
            self.__dict__.pop("emitter", None)  # it is made again

    def prepare(self, *, publishes: bool = False) -> None:
        """Make ready what asks nobody but Lambda itself; call it while Lambda initialises the sandbox.

        Lambda lends it a whole processor then, and SnapStart keeps what was made. Outside Lambda it does nothing.
        """
        address = os.environ.get("AWS_LAMBDA_RUNTIME_API")  # the runtime's own, there before any request
        if not address:
            return
        with suppress(Exception):  # the first request meets the same error, and tells it
            # To connect to the store that a secret names would be to read it, and a snapshot must not hold it.
            _ = self.credentials if self.settings.redis_secret_arn else self.connection
            # Only in a snapshot, which is made once: elsewhere its import would hold up the first response.
            if publishes and os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
                self.emitter.connect()
        if publishes:
            self._register(address)

    def _register(self, address: str) -> None:
        from missions.publishing.after_response import Extension  # its HTTP client costs 10 ms

        try:
            self._extension = Extension(address)
        except Exception:
            logger.exception("No extension: events are published before the response")

    def publish(self, entries: Sequence[OutboxEntry]) -> None:
        """Publish outbox entries once the response was sent, or at once where there is no extension."""
        if not entries:
            return
        task = partial(self.emitter.publish, self.outbox, entries)
        if self._extension:
            self._extension.add(task)
        else:
            task()

    def handler_ended(self, request_id: str) -> None:
        """The handler of this invocation returns, or raises."""
        if self._extension:
            self._extension.handler_ended(request_id)


current = Runtime()


def replace(runtime: Runtime) -> None:
    """Let this be what the sandbox holds."""
    global current
    current = runtime
