"""What a function imports is what it needs: each import costs a cold start. And imports go in one direction."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/missions"
AWS = {
    "boto3",
    "botocore.session",
    "missions.aws",
    "missions.publishing.eventbridge",
    "missions.publishing.relay",
    "missions.storage.credentials",
}
HEAVY = {
    *AWS,
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.data_classes",
    "aws_lambda_powertools.utilities.parameters",
    "aws_xray_sdk",
    "http.client",
    "missions.archive",
    "missions.sweeper",
    "missions.publishing.after_response",
    "missions.publishing.operators",
    "urllib3",
}
READING = ["get_mission", "list_missions", "get_log", "get_stats", "get_history", "health"]
# boto3 comes with the first event, after its response
WRITING = [
    *("create_mission", "update_status", "append_log_entry", "claim_mission", "heartbeat", "retry_mission"),
    *("cancel_missions", "delete_mission"),
]
BUDGET = {
    **dict.fromkeys(READING + WRITING, HEAVY),
    "get_openapi": HEAVY | {"aws_lambda_powertools", "missions", "pydantic", "redis"},
    "get_console": HEAVY | {"aws_lambda_powertools", "missions", "pydantic", "redis"},
    "operate_events": {"aws_lambda_powertools.event_handler", "missions.api", "missions.publishing.after_response"},
    "relay_events": {
        "aws_lambda_powertools.event_handler",
        "aws_lambda_powertools.utilities.parameters",
        "missions.api",
        "missions.publishing.after_response",
        "missions.service",
        "missions.storage.credentials",
    },
    "sweep_missions": {
        "aws_lambda_powertools.event_handler",
        "aws_lambda_powertools.utilities.parameters",
        "missions.api",
        "missions.archive",  # only where missions are archived
        "missions.publishing.after_response",
        "missions.storage.credentials",
    },
    "canary": {"aws_lambda_powertools.event_handler", "missions.api", "missions.runtime", "pydantic", "redis"},
}


def run(code: str, **environment: str) -> set[str]:
    """Run this code in an interpreter of its own; the modules that it has imported in the end."""
    code += "\nimport sys; print(*sys.modules)"
    path = {"PYTHONPATH": ".:layers/missions", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=path | environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("function", BUDGET)
def test_a_function_imports_nothing_that_it_does_not_need(function: str) -> None:
    loaded = run(f"import functions.{function}.app")
    assert f"functions.{function}.app" in loaded
    assert loaded & BUDGET[function] == set()


@pytest.mark.parametrize("function", BUDGET)
def test_nothing_of_the_environment_is_read_and_nothing_connected_at_import(function: str) -> None:
    run(f"""
import socket
socket.socket.connect = None
import functions.{function}.app
from missions import runtime
from missions.runtime import Runtime
assert vars(runtime.current).keys() == vars(Runtime()).keys()
""")


def test_a_plain_store_needs_no_boto3() -> None:
    loaded = run("from missions import runtime; runtime.current.store", REDIS_URL="redis://127.0.0.1:1")
    assert "missions.storage.store" in loaded
    assert loaded & AWS == set()


def test_a_store_with_iam_needs_botocore_alone() -> None:
    loaded = run(
        "from missions import runtime; runtime.current.store",
        REDIS_URL="rediss://127.0.0.1:1",
        REDIS_IAM_USER="missions-abc",
        REDIS_IAM_CACHE="missions-cache",
        AWS_REGION="eu-central-1",
    )
    assert "missions.storage.credentials" in loaded
    assert loaded & {"boto3", "aws_lambda_powertools.utilities.parameters"} == set()


# The direction of imports: a package may import those that stand before it. Those of everybody stand for themselves.
ORDER = [
    "domain",
    "storage",
    "publishing",
    "archive",
    "runtime",
    "service",
    "cancelling",
    "sweeper",
    "api",
    "functions",
]
EVERYBODYS = {"settings", "log", "deadline", "aws"}  # but not the domain's


def modules() -> dict[str, Path]:
    """The modules of the layer and the functions, by name."""
    return {
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__"): path
        for base, folder in ((LAYER, "missions"), (ROOT, "functions"))
        for path in sorted((base / folder).rglob("*.py"))
    }


def imports(module: str) -> set[str]:
    """The modules of ours that a module imports, in functions too, but not those for types alone."""
    known = modules()
    found = set()
    for name in imported(ast.parse(known[module].read_text())):
        while name and name not in known:  # the name of something in a module
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {"", "missions", module}


def imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            for each in node.orelse:
                yield from imported(each)
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module, names, level):
            assert level == 0, "imports are absolute"
            yield from (f"{module}.{alias.name}" for alias in names)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from imported(child)


def place(module: str) -> str:
    """Where a module stands in the order, or its own name where it stands for itself."""
    top, _, rest = module.partition(".")
    if top == "functions":
        return top
    return rest.partition(".")[0]


@cache
def graph() -> dict[str, set[str]]:
    return {module: imports(module) for module in modules() if module != "missions"}


def test_every_module_has_its_place() -> None:
    assert {place(module) for module in graph()} == {*ORDER, *EVERYBODYS}
    assert sum(map(len, graph().values())) > 50  # the imports are found


def wrong(module: str, other: str) -> bool:
    """Whether this import goes against the direction."""
    mine, theirs = place(module), place(other)
    if theirs in EVERYBODYS:
        return mine == "domain"
    return mine in EVERYBODYS or ORDER.index(theirs) > ORDER.index(mine)


def test_imports_go_in_one_direction() -> None:
    assert [(module, other) for module, others in graph().items() for other in others if wrong(module, other)] == []


def test_no_function_imports_another() -> None:
    for module, others in graph().items():
        if module.startswith("functions."):
            assert not {other for other in others if other.startswith("functions.")}, module


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(graph()).prepare()  # raises CycleError, which names the circle
