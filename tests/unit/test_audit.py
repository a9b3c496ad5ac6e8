"""The audit fails on what is unsafe, and never takes silence for safety."""

import json
from pathlib import Path

import pytest

from local import audit

SAFE = {"name": "redis", "version": "8.1.0", "vulns": []}
VULNERABLE = {**SAFE, "vulns": [{"id": "CVE-2026-1", "fix_versions": ["8.1.1"]}]}
UNKNOWN = {"name": "pydantic", "skip_reason": "Dependency not found"}


def answering(tool: str, text: str, status: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = folder / tool
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\necho \"$@\" >{folder}/asked\nexit {status}\n")
    script.chmod(0o755)
    monkeypatch.setattr(audit, "TOOLS", folder)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


@pytest.mark.parametrize(
    ("packages", "passes", "passes_in_actions", "says"),
    [
        ([SAFE], True, True, "1 packages, 0 vulnerable"),
        ([SAFE, VULNERABLE], False, False, "CVE-2026-1, fixed in ['8.1.1']"),
        ([SAFE, UNKNOWN], True, False, "NOTHING IS KNOWN"),
        ([VULNERABLE, UNKNOWN], False, False, "NOTHING IS KNOWN"),
        ([], True, False, "NOTHING IS KNOWN"),
    ],
)
def test_packages_are_safe_vulnerable_or_unknown(
    packages: list[dict[str, object]],
    passes: bool,
    passes_in_actions: bool,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answering("pip-audit", json.dumps({"dependencies": packages}), 0, tmp_path, monkeypatch)
    assert audit.pip_audit() == passes
    assert says in capsys.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert audit.pip_audit() == passes_in_actions


def test_advisories_that_cannot_be_reached_are_told_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering("pip-audit", "no connection", 1, tmp_path, monkeypatch)
    assert audit.pip_audit()
    assert "!! NOTHING IS KNOWN" in capsys.readouterr().out


@pytest.mark.parametrize("status", [0, 1])
def test_checkov_skips_what_the_template_explains_and_nothing_else(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering("checkov", "", status, tmp_path, monkeypatch)
    assert audit.checkov("template.yaml") == (status == 0)
    skipped = [word for word in (tmp_path / "asked").read_text().split() if word.startswith("CKV")]
    assert skipped == ["CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_173"]
