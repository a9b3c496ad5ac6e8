"""What a handler names is what it uses."""

import importlib
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest
from pydantic import BaseModel, TypeAdapter

from local.documents import OPERATIONS, reads_of


@pytest.mark.parametrize("function", OPERATIONS)
def test_the_models_that_a_function_uses_are_built_while_lambda_initialises(function: str) -> None:
    module = importlib.import_module(f"functions.{function}.app")
    named = [kind for kind in reads_of(module).values() if kind is not None and not isinstance(kind, TypeAdapter)]
    (answer,) = get_args(get_type_hints(getattr(module, function))["return"])
    named += get_args(answer) or (answer,)
    models = [kind.__name__ for kind in named if isinstance(kind, type) and issubclass(kind, BaseModel)]
    assert models or function == "delete_mission"  # it reads and answers nothing
    code = f"""
import functions.{function}.app
from missions.domain import models
for name in {models!r}:
    assert getattr(models, name).__pydantic_complete__, name
"""
    environment = {"PYTHONPATH": ".:layers/missions", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
