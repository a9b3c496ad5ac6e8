"""What operators ask of the outbox: what is undelivered, what is dead, and to send it again."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from missions.domain.events import BROKEN, OutboxEntry
from missions.storage.keys import partition_of
from missions.storage.outbox import Outbox


class RelayRequest(BaseModel):
    """To publish, to list what is undelivered and dead, to send dead letters again, or to name the namespaces."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["publish", "list", "redeliver", "namespaces"] = "publish"
    namespace: str | None = None  # None: every namespace
    limit: int = Field(50, ge=1, le=1000)  # entries listed of each kind and partition
    entry_ids: list[Annotated[str, Field(pattern=r"^[0-9]{1,20}-[0-9]{1,20}$")]] = []  # dead letters; none: all

    @model_validator(mode="after")
    def _ids_have_a_namespace(self) -> Self:
        if self.entry_ids and self.namespace is None:
            raise ValueError("entry_ids are those of one namespace; name it, too")
        return self


def listed(outbox: Outbox, request: RelayRequest) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The oldest undelivered events and dead letters, by namespace. Raises StoreUnavailable."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    if request.namespace is not None:
        found[request.namespace] = {"undelivered": [], "dead": []}
        partitions = [partition_of(request.namespace)]
    else:
        partitions = [each.partition for each in outbox.survey()]
    for partition in partitions:
        undelivered, dead = outbox.listed(partition, request.limit)
        for kind, shown in (
            ("undelivered", [_shown(each) for each in undelivered]),
            ("dead", [_shown(each.entry) | {"error": each.error} for each in dead]),
        ):
            for each in shown:
                namespace = each.pop("namespace")
                if request.namespace in (None, namespace):
                    found.setdefault(namespace, {"undelivered": [], "dead": []})[kind].append(each)
    return found


def revive(outbox: Outbox, request: RelayRequest) -> int:
    """Put dead letters back into the outbox; tells how many. Raises StoreUnavailable."""
    if request.namespace is not None:
        return outbox.revive(partition_of(request.namespace), request.namespace, request.entry_ids)
    return sum(outbox.revive(each.partition) for each in outbox.survey() if each.dead)


def _shown(entry: OutboxEntry) -> dict[str, Any]:
    try:
        events: Any = [event.model_dump(mode="json") for event in entry.envelopes()]
    except BROKEN:
        events = entry.drafts
    return {"namespace": entry.namespace, "entry_id": entry.id, "events": events}
