"""Initialisation: the processor time that importing each function takes in a fresh process, against an empty handler
that imports the same libraries; a writing one makes its EventBridge client too, as the first event would.
"""

import os
import random
import subprocess
import sys

from rich.progress import track

from benchmarks.report import Report
from benchmarks.timing import Sample, check
from benchmarks.world import READS, REGION, WRITES

LIBRARIES = """
import redis
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
app = APIGatewayHttpResolver()
def handler(event, context):
    return app.resolve(event, context)
"""
CLIENT = f"import boto3; boto3.client('events', region_name='{REGION}')\n"
OUR_CLIENT = f"from missions.publishing.eventbridge import EventBridge; EventBridge('missions', '{REGION}')\n"
TIMED = "import time\nstarted = time.process_time()\n{}\nprint(time.process_time() - started, callable(handler))"


def measure(report: Report, *, quick: bool) -> None:
    empty, with_boto3 = "an empty handler", "an empty handler with boto3"
    codes = {"nothing": "handler = print\n", empty: LIBRARIES, with_boto3: LIBRARIES + CLIENT}
    codes |= {name: f"from functions.{name}.app import handler\n" for name in READS + WRITES}
    codes |= {name: codes[name] + OUR_CLIENT for name in WRITES}
    samples = {name: Sample() for name in codes}
    for turn in track(range(-1, 5 if quick else 15), "fresh processes", console=report.console, transient=True):
        for name in random.sample(list(codes), len(codes)):
            seconds = _initialise(codes[name])
            if turn >= 0:  # the first one compiles
                samples[name].seconds.append(seconds)
    for name in READS + WRITES:
        against = with_boto3 if name in WRITES else empty
        report.compare("initialisation", name, {name: samples[name], against: samples[against]}, 1.15)
    check(samples["nothing"].median < samples[empty].median / 10, "the empty handler imported nothing")


def _initialise(code: str) -> float:
    compiled = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # else each process would compile our modules anew
    command = [sys.executable, "-c", TIMED.format(code)]
    done = subprocess.run(command, env=compiled, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"a function could not be imported:\n{done.stderr[-500:]}")
    seconds, has_handler = done.stdout.split()
    check(has_handler == "True", "a function has no handler")
    return float(seconds)
