"""The screenshots of the docs: a day of traffic, as it looks. They go to the folder that --images names."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from missions.storage import keys
from playwright.sync_api import Page, expect

from local.processes import ROOT
from tests.console.conftest import Stack, running

SMALLEST = 10_000  # bytes; an empty page has fewer


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack after some hours, with work that goes on."""
    with running(folder := tmp_path_factory.mktemp("day")) as stack:
        paths = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers/missions")))}
        command = [sys.executable, "-m", "local.demo"]
        subprocess.run(command, cwd=folder, env=os.environ | paths | {"MISSIONS": "40", "RATE": "40"}, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        for number, name in enumerate(("Deploy web v4.27", "Deploy billing v2.0", "Compress old images")):
            mission = stack.create(name, tags=["env=prod"], timeout=900, retries=2)
            stack("POST", "/claim", {"tags": ["env=prod"], "worker": f"worker-{number}", "lease": 600})
            stack("POST", f"/{mission}/heartbeat", {"progress": 0.2 + 0.3 * number, "note": f"step {number + 1} of 5"})
        for name in ("Nightly report", "Agent: answer ticket 4712"):
            stack.create(name, tags=["kind=job"])
        hour = int(time.time()) // 3600
        for back in range(1, 24):  # what happened before, as the statistics keep it
            created = round(24 + 14 * math.sin(back / 3.5) + back % 5)
            failed = (back * 7) % 5
            counts = {"created": created, "COMPLETED": created - failed - 1, "FAILED": failed, "CANCELLED": 1}
            steps: dict[Any, Any] = {f"{hour - back} {what}": count for what, count in counts.items()}
            stack.redis.hset(keys.Keys("default").stats, mapping=steps)
        yield stack


@pytest.mark.parametrize("name", ["board", "board-dark", "overview", "mission", "small"])
def test_the_images_of_the_docs_can_be_made(
    window: Callable[..., Page], day: Stack, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    folder = request.config.getoption("--images") or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    size = {"width": 360 if name == "small" else 1040, "height": 940 if name == "mission" else 600}
    page = window(viewport=size, color_scheme="dark" if "dark" in name else "light")
    failed = day("GET", "?status=FAILED&limit=1")["missions"][0]["id"]
    page.goto(f"{day.url}/#/{ {'overview': 'overview', 'mission': f'missions/{failed}'}.get(name, '') }")
    ready = {"overview": "canvas", "mission": ".entry"}.get(name, ".running .card progress")
    expect(page.locator(ready).first).to_be_visible()
    expect(page.locator(".count", has_text="…")).to_have_count(0)
    page.wait_for_timeout(500)
    file = folder / f"console-{name}.png"
    page.screenshot(path=file)
    assert file.stat().st_size > SMALLEST
