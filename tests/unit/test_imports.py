"""What a function imports is what it needs: each import costs a cold start."""

import subprocess
import sys

import pytest

AWS = {"boto3", "botocore.session", "missions.eventbridge", "missions.relay", "missions.credentials"}
HEAVY = {
    *AWS,
    "aws_lambda_powertools.event_handler.openapi.params",
    "aws_xray_sdk",
    "http.client",
    "missions.extension",
    "urllib3",
}
READING = ["get_mission", "list_missions", "get_log", "get_stats", "health"]
WRITING = [
    "create_mission",
    "update_status",
    "append_log_entry",
]  # boto3 comes with the first event, after its response
BUDGET = {
    **dict.fromkeys(READING + WRITING, HEAVY),
    "get_openapi": HEAVY | {"aws_lambda_powertools", "missions", "pydantic", "redis"},
    "relay_events": {"aws_lambda_powertools.event_handler", "missions.api", "missions.extension", "missions.service"},
}


@pytest.mark.parametrize("function", BUDGET)
def test_a_function_imports_nothing_that_it_does_not_need(function: str) -> None:
    code = f"import sys, functions.{function}.app; print(*sys.modules)"
    path = {"PYTHONPATH": ".:layers/missions", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"functions.{function}.app" in loaded
    assert loaded & BUDGET[function] == set()


@pytest.mark.parametrize("function", BUDGET)
def test_nothing_of_the_environment_is_read_and_nothing_connected_at_import(function: str) -> None:
    code = f"""
import socket
socket.socket.connect = None
import functions.{function}.app
from missions.settings import settings
from missions.store import store
assert settings.cache_info().currsize == store.cache_info().currsize == 0
"""
    path = {"PYTHONPATH": ".:layers/missions", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)


def test_a_plain_store_needs_no_boto3() -> None:
    code = "import sys; from missions.store import store; store(); print(*sys.modules)"
    path = {"PYTHONPATH": ".:layers/missions", "PATH": "", "REDIS_URL": "redis://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & AWS == set()
