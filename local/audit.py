"""make audit: checkov on the templates, and pip-audit on what the layer installs.

They live in a virtual environment of their own, .audit/, since their pins and SAM's exclude each other.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from samcli.yamlhelper import yaml_parse

TOOLS = Path(".audit/bin")
TEMPLATES = ["template.yaml", "events/workflow.yaml"]
LAYER = "layers/missions/requirements.txt"


def checkov(template: str) -> bool:
    """Whether checkov finds nothing but what the template's metadata explains."""
    skipped = yaml_parse(Path(template).read_text()).get("Metadata", {}).get("checkov", {}).get("skip", [])
    command = [str(TOOLS / "checkov"), "--file", template, "--framework", "cloudformation", "--compact", "--quiet"]
    for skip in skipped:
        command += ["--skip-check", skip["id"]]
    # It first asks its vendor for guidelines, and prints a traceback where there is no network
    done = subprocess.run(command, check=False, env=os.environ | {"LOG_LEVEL": "CRITICAL"})
    print(f"checkov {template}: {'ok' if done.returncode == 0 else 'failed'}")
    return done.returncode == 0


def pip_audit() -> bool:
    """Whether nothing that the layer installs has a known vulnerability."""
    command = [str(TOOLS / "pip-audit"), "--requirement", LAYER, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        packages = []
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        for each in package["vulns"]:
            print(f"{package['name']} {package['version']}: {each['id']}, fixed in {each['fix_versions']}")
    # Behind a mirror of the package index, pip-audit skips every package and reports success
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if packages and not unknown:
        print(f"pip-audit: {len(packages)} packages, {len(vulnerable)} vulnerable")
        return not vulnerable
    print(f"""
!! pip-audit could not reach the advisories: {", ".join(unknown) or done.stderr.strip()[-500:]}
!! NOTHING IS KNOWN about vulnerabilities of the layer. GitHub Actions asks again, and fails where it can't.
""")
    return not vulnerable and "GITHUB_ACTIONS" not in os.environ


if __name__ == "__main__":
    passed = [*map(checkov, TEMPLATES), pip_audit()]
    sys.exit(not all(passed))
