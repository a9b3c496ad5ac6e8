"""Initialisation: the processor time that importing each function takes in a fresh process, against an empty handler
that imports the same libraries; a writing one makes its EventBridge client too, as the first event would.
"""

import os
import statistics
import subprocess
import sys

from rich.progress import track

from benchmarks.report import Report
from benchmarks.timing import Sample, check
from benchmarks.world import READS, WRITES

LIBRARIES = """
import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
app = APIGatewayHttpResolver()
def handler(event, context):
    return app.resolve(event, context)
"""
MODEL = """
class Model(BaseModel):
    name: str
"""
CLIENT = """
import boto3
boto3.client("events", region_name="eu-central-1")
"""
OUR_CLIENT = """
from missions.eventbridge import EventBridge
EventBridge("missions")
"""
TIMED = """
import time
started = time.process_time()
{code}
print(time.process_time() - started, callable(handler))
"""


def measure(report: Report, *, quick: bool) -> None:
    reading = {"empty": LIBRARIES, "with a model": LIBRARIES + MODEL}
    reading |= {name: f"from functions.{name}.app import handler\n" for name in READS}
    writing = {
        "empty with boto3": LIBRARIES + CLIENT,
        **{name: f"from functions.{name}.app import handler\n{OUR_CLIENT}" for name in WRITES},
    }
    codes = reading | writing
    samples = {name: Sample() for name in codes}
    turns = 3 if quick else 15
    for turn in track(range(-1, turns), "fresh processes", console=report.console, transient=True):
        for name in sorted(codes, key=lambda each: hash((each, turn))):
            seconds = _initialise(codes[name])
            if turn >= 0:  # the first one compiles
                samples[name].seconds.append(seconds)
    report.compare(
        "initialisation", "an empty handler with one model", samples["with a model"], samples["empty"],
        "empty handler", "<=",
    )  # fmt: skip
    for names, empty in ((READS, "empty"), (WRITES, "empty with boto3")):
        for name in names:
            report.compare("initialisation", name, samples[name], samples[empty], f"{empty} handler", "<=", 1.15)
    bare = [_initialise("handler = print") for _ in range(3)]
    check(statistics.median(bare) < samples["empty"].median / 10, "the empty handler imported nothing")


def _initialise(code: str) -> float:
    environment = os.environ | {"REDIS_URL": "redis://127.0.0.1:1", "AWS_REGION": "eu-central-1"}
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code)], capture_output=True, text=True, env=environment, check=False
    )
    check(done.returncode == 0, f"a function could not be imported:\n{done.stderr[-500:]}")
    seconds, has_handler = done.stdout.split()
    check(has_handler == "True", "a function has no handler")
    return float(seconds)
