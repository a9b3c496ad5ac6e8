"""Standard input, output and error, as the commands expect them."""

import os
import sys


def prepare() -> None:
    """Open those that are closed, so that a pipe or a connection does not get their numbers; let each write wait."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.set_blocking(number, True)  # who started us may have changed that; then output would be lost
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
        if number:
            getattr(sys, name).reconfigure(errors="backslashreplace")  # what the locale does not have is no error
