"""Make the synchronous client from the asynchronous one: python -m local.unasync. The idea is that of httpcore."""

import re
import subprocess
import sys

from local.processes import ROOT

SOURCE = ROOT / "client/missions_client/asynchronous.py"
TARGET = SOURCE.with_name("synchronous.py")
CHANGES = (
    (r"\A.*", '"""The client. It is made from asynchronous.py by `python -m local.unasync`: change that file."""'),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\(await (.*?\))\)", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(Client|Work|Iterator|BaseTransport)\b", r"\1"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\btasks\b", "threads"),
    (r"for (\w+) in (.+):\n +yield \1\n", r"yield from \2\n"),
)


def synchronous() -> str:
    """The text of the synchronous client."""
    text = SOURCE.read_text()
    for pattern, replacement in CHANGES:
        text = re.sub(pattern, replacement, text)
    for command in (["check", "--fix-only", "--quiet"], ["format", "--quiet"]):
        whole = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET), "-"]
        text = subprocess.run(whole, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


if __name__ == "__main__":
    TARGET.write_text(synchronous())
