"""The stack answers as its OpenAPI document says, to thousands of requests that schemathesis makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import requests

from local.documents import OPENAPI
from tests.e2e.conftest import Client

HERE = Path(__file__).parent


def test_every_answer_is_as_documented(api: Client) -> None:
    command: list[str | Path] = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", HERE / "schemathesis.toml"),
        *("run", OPENAPI, "--url", api.url, "--max-examples", "15", "--seed", "1", "--no-color"),
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
        "PYTHONPATH": os.pathsep.join((".", "layers/missions")),
    }
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "14 selected / 14 total" in run.stdout


def test_the_document_is_served(api: Client) -> None:
    answer = requests.get(f"{api.url}/api/missions/openapi.json", timeout=10)
    assert (answer.status_code, answer.text) == (200, OPENAPI.read_text())
