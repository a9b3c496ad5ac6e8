"""The examples of the OpenAPI document: each error as the service itself words it, and missions as they move."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from missions import api, runtime
from missions.api.requests import MAX_BODY, Request
from missions.api.responses import problem
from missions.domain import cursors
from missions.domain.errors import (
    AlreadyRetried,
    BrokenRecord,
    KeyReused,
    MissionExists,
    MissionNotFound,
    MissionOpen,
    MissionRemoved,
    MissionsError,
    RetryRefused,
    StaleVersion,
    StoreUnavailable,
    TransitionRefused,
)
from missions.domain.models import Claim, LogQuery, Mission, MissionCreate, MissionStatus
from missions.runtime import Runtime
from missions.settings import Settings

SAMPLE = json.loads(Path("events/create_mission.json").read_text())
ID, NEXT = "deploy-42", "c5f6c3a1-6d0e-4c8e-9f0f-3a4d1f1e2b7a"
AT = 1703001234.567


def problems() -> dict[str, dict[str, Any]]:
    """The answer of the service to each error, by its code; what is not valid by its place, too."""
    errors: dict[str, MissionsError] = {
        "malformed_json": _refusal(lambda: api.body(_request(body=""), Claim)),
        "forbidden": _without_namespace(),
        "mission_not_found": MissionNotFound(ID),
        "mission_exists": MissionExists(ID),
        "transition_refused": TransitionRefused(MissionStatus.COMPLETED, MissionStatus.RUNNING),
        "retry_refused": RetryRefused(MissionStatus.RUNNING),
        "already_retried": AlreadyRetried(NEXT),
        "mission_open": MissionOpen(MissionStatus.RUNNING),
        "mission_removed": MissionRemoved(ID, AT),
        "stale_version": StaleVersion(2),
        "body_too_large": _refusal(lambda: api.body(_request(body=" " * (MAX_BODY + 1)), Claim)),
        "unsupported_media_type": _refusal(
            lambda: api.body(_request(headers={"content-type": "application/x-www-form-urlencoded"}), Claim)
        ),
        "validation_failed_in_body": _refusal(lambda: api.body(_request(body='{"colour": "red"}'), Claim)),
        "validation_failed_in_query": _refusal(
            lambda: api.query(_request(queryStringParameters={"colour": "red"}), LogQuery)
        ),
        "validation_failed_in_path": _refusal(
            lambda: api.mission_id(_request(pathParameters={"mission_id": "deploy 42"}))
        ),
        "invalid_cursor": _refusal(lambda: cursors.position("bmV3ZXN0IDI", "oldest")),
        "invalid_if_match": _refusal(lambda: api.if_match(_request(headers={"if-match": "1"}))),
        "invalid_idempotency_key": _refusal(lambda: api.write(_request(headers={"idempotency-key": ""}))),
        "idempotency_key_reused": KeyReused(),
        "broken_record": BrokenRecord(ID),
        "store_unavailable": StoreUnavailable(),
    }
    logging.disable()  # it logs what is worse than a refusal
    try:
        return {name: json.loads(problem(_request(), error)["body"]) for name, error in errors.items()}
    finally:
        logging.disable(logging.NOTSET)


def missions() -> dict[str, dict[str, Any]]:
    """What an operation answers with, by its name, for those whose answer is a mission that it changed."""
    shown: Any = MissionCreate.model_config["json_schema_extra"]
    new = Mission(
        **shown["examples"][0], status=MissionStatus.PENDING, version=1, created_at=AT, updated_at=AT, active_at=AT
    )
    began, ended = AT + 5.556, AT + 65.556
    running = {"status": "RUNNING", "version": 2, "updated_at": began, "active_at": began, "started_at": began}
    failed = {"status": "FAILED", "reason": "disk full", "version": 3, "updated_at": ended, "active_at": ended}
    changed: dict[str, dict[str, Any]] = {
        "create_mission": {},
        "claim_mission": running | {"worker": "worker-1", "heartbeat_timeout": 60},
        "update_status": running | failed | {"finished_at": ended, "duration": 60.0},
        "retry_mission": {"id": NEXT, "attempt": 2, "retry_of": ID},
    }
    return {name: new.model_dump(mode="json") | members for name, members in changed.items()}


def _request(**changes: Any) -> Request:
    gateway = SAMPLE["requestContext"] | {"requestId": "JKJaXmPLvHcESHA="}
    return Request(SAMPLE | {"requestContext": gateway} | changes, None)


def _refusal(read: Callable[[], Any]) -> MissionsError:
    try:
        read()
    except MissionsError as error:
        return error
    raise AssertionError("it was not refused")


def _without_namespace() -> MissionsError:
    """How a token is refused that lacks the claim."""
    before = runtime.current
    runtime.replace(Runtime(Settings.model_validate({"redis_url": "redis://127.0.0.1", "namespace_claim": "tenant"})))
    try:
        return _refusal(lambda: api.namespace(_request()))
    finally:
        runtime.replace(before)
