"""The ways compared: the service, the floor and the specification, each with missions of its own, all checked alike."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import redis

from benchmarks import floor, specification
from benchmarks.floor import Handler
from benchmarks.timing import Contender, check
from benchmarks.world import CONTENT, ENTRY, PAGE, load, load_spec, new_ids, request, run_all, service

SUCCESS = {"create_mission": 201, "append_log_entry": 201}


class Way:
    """One way of doing the operations, with missions of its own to do them on, each made into a contender.

    `publishing` says whether writes put their events into the outbox, which is then checked; `begin` is called before
    each batch; `pool` names missions to get, start and log to, instead of new ones.
    """

    def __init__(
        self, client: redis.Redis, handlers: dict[str, Handler], loader: Callable[[redis.Redis, Sequence[str]], None],
        *, publishing: bool = False, begin: Callable[[], None] = lambda: None, pool: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._client = client
        self._handlers = handlers
        self._load = loader
        self._publishing = publishing
        self._begin = begin
        self._pool = list(pool)
        self._events = 0
        self._logged = self._new_logged()

    def contender(self, operation: str) -> Contender:
        handler = self._handlers[operation]

        def prepare(count: int) -> list[dict[str, Any]]:
            self._begin()
            requests = self._requests(operation, count)
            self._events = int(self._client.xlen(floor.KEYS.outbox))
            return requests

        def verify(requests: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> None:
            self._verify(operation, requests, answers)

        return Contender(lambda event: handler(event, None), prepare, verify)

    def _new_logged(self) -> str:
        (logged,) = new_ids(1)
        self._load(self._client, [logged])
        if self._load is load_spec:
            way = specification.Specification(self._client)
            for _ in range(PAGE - 1):
                way.append_log_entry(logged, specification.SpecLogEntry.model_validate(ENTRY))
        else:
            run_all(self._client, (floor.log_call(logged, ENTRY, each, 0) for each in new_ids(PAGE - 1)))
        return logged

    def _ids(self, count: int) -> list[str]:
        """Missions that nothing was done with yet: of the pool, while it lasts."""
        if len(self._pool) < count:
            self._load(self._client, ids := new_ids(count))
            return ids
        ids, self._pool = self._pool[:count], self._pool[count:]
        return ids

    def _requests(self, operation: str, count: int) -> list[dict[str, Any]]:
        match operation:
            case "create_mission":
                return [request(operation, body={"id": each, **CONTENT}) for each in new_ids(count)]
            case "update_status" | "get_mission" | "append_log_entry":
                ids = self._ids(count)
                body = {"update_status": {"status": "RUNNING"}, "append_log_entry": ENTRY}.get(operation)
                return [request(operation, each, body) for each in ids]
            case "list_missions":
                return [request(operation, limit=str(PAGE)) for _ in range(count)]
            case "get_log":
                return [request(operation, self._logged, limit=str(PAGE)) for _ in range(count)]
            case _:
                return [request(operation) for _ in range(count)]

    def _verify(self, operation: str, requests: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]]) -> None:
        wanted = SUCCESS.get(operation, 200)
        statuses = {answer["statusCode"] for answer in answers}
        check(statuses == {wanted}, f"{operation} answered {statuses}, not {wanted}")
        body = json.loads(answers[-1]["body"])
        own = self._load is not load_spec
        match operation:
            case "create_mission":
                mission_id = json.loads(requests[-1]["body"])["id"]
                key = floor.KEYS.mission(mission_id) if own else specification.mission_key(mission_id)
                check(body["id"] == mission_id and body["name"] == CONTENT["name"], "create answered another mission")
                check(bool(self._client.exists(key)), "a created mission is not in the store")
            case "update_status":
                mission_id = requests[-1]["pathParameters"]["mission_id"]
                key = floor.KEYS.mission(mission_id) if own else specification.mission_key(mission_id)
                check("RUNNING" in str(self._client.get(key)), "a started mission is not RUNNING in the store")
            case "append_log_entry":
                mission_id = requests[-1]["pathParameters"]["mission_id"]
                key = floor.KEYS.log(mission_id) if own else specification.log_key(mission_id)
                check(self._client.llen(key) == 2, "a log entry is not in the store")
            case "get_mission":
                check(body["id"] == requests[-1]["pathParameters"]["mission_id"], "get answered another mission")
            case "list_missions":
                check(len(body["missions"]) == PAGE, f"a page has {len(body['missions'])} missions, not {PAGE}")
            case "get_log":
                check(len(body["log"]) == PAGE, f"a page has {len(body['log'])} log entries, not {PAGE}")
            case "get_stats":
                check(body["stats"]["total"] >= PAGE, "the statistics do not count the missions")
        each = {"create_mission": 2, "update_status": 2, "append_log_entry": 1}.get(operation, 0)
        grown = int(self._client.xlen(floor.KEYS.outbox)) - self._events
        expected = each * len(requests) if self._publishing else 0
        check(grown == expected, f"{operation} put {grown} events into the outbox, not {expected}")


def our_way(client: redis.Redis, *, publishing: bool = True, **options: Any) -> Way:
    """The service's functions; with `publishing` its events stay in the outbox, to be published after the response."""
    return Way(client, service(), load, publishing=publishing, **options)


def floor_way(client: redis.Redis, handler_client: redis.Redis) -> Way:
    return Way(client, floor.handlers(handler_client), load, publishing=True)


def spec_way(client: redis.Redis, handler_client: redis.Redis) -> Way:
    return Way(client, specification.handlers(handler_client), load_spec)
