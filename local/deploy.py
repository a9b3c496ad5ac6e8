"""make deploy and make deploy-check: the stack of an environment of samconfig.toml, in an AWS account.

PARAMETERS="Name=value ..." adds to the parameters of samconfig.toml, or replaces them. YES=1 deploys without asking,
and REPLACE=1 with it also what makes a new store.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import smoke
from local.account import Account, Answer, Denied
from local.lines import console, safe
from local.parameters import Values, refusals
from local.processes import ROOT
from local.sam import SAM
from local.stack import CannotStart
from local.template import template

PAUSE = 3.0  # seconds between two looks at a deployment
COLOURS = {"ok": "green", "MISSING": "bold red", "note": "yellow", "unknown": "yellow"}
# Resources with a name of their own, and the property that holds it: two cannot have one name, not even for a moment
NAMED = {
    "AWS::ElastiCache::ServerlessCache": "ServerlessCacheName",
    "AWS::ElastiCache::ReplicationGroup": "ReplicationGroupId",
    "AWS::ElastiCache::User": "UserId",
    "AWS::ElastiCache::UserGroup": "UserGroupId",
}
STORES = list(NAMED)[:2]
GIVE = 'PARAMETERS="Name=value ...", or in samconfig.toml'
EMPTY = (
    "[bold yellow]The store is replaced: the new one is empty,[/] unless it starts from a snapshot "
    "(RestoreSnapshotArn or RestoreSnapshotName). The old one leaves a last snapshot."
)


class Plan(NamedTuple):
    """What is to be deployed, and where."""

    environment: str
    stack: str
    region: str
    given: dict[str, str]

    def command(self, more: str = "", target: str = "deploy") -> str:
        """The command that does this, with more parameters."""
        added = pairs(f"{os.environ.get('PARAMETERS', '')} {more}").items()
        text = " ".join(f"{name}={shlex.quote(value) if value else ''}" for name, value in added)
        return f"make {target} ENV={self.environment}" + (f' PARAMETERS="{text}"' if text else "")


def pairs(text: str) -> dict[str, str]:
    """Name=value, as often as wanted. Raises CannotStart."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CannotStart(f"PARAMETERS cannot be read ({error}): {text}") from None
    if wrong := [word for word in words if "=" not in word]:
        raise CannotStart(f"Parameters have the form Name=value, with spaces between them; '{wrong[0]}' has not")
    return dict(word.split("=", 1) for word in words)


def planned(environment: str) -> Plan:
    """What samconfig.toml and PARAMETERS say. Raises CannotStart."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    known = [name for name, of in config.items() if isinstance(of, dict) and name != "default" and "deploy" in of]
    if environment not in known:
        raise CannotStart(f"samconfig.toml has no environment '{environment}'. There are: ENV={', ENV='.join(known)}")
    settings = config[environment]["deploy"]["parameters"]
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or settings.get("region")
    given = pairs(settings.get("parameter_overrides", "")) | pairs(os.environ.get("PARAMETERS", ""))
    return Plan(environment, settings["stack_name"], region or boto3.Session().region_name or "", given)


def told(answers: Iterable[Answer]) -> bool:
    """Print them; whether nothing is missing."""
    good = True
    for kind, text, remedy in answers:
        arrow = f" -> {safe(remedy)}" if remedy else ""
        console.print(f"[{COLOURS[kind]}]{kind:<7}[/] {safe(text)}{arrow}")
        good &= kind != "MISSING"
    return good


def check(plan: Plan, client: Callable[[str], Any]) -> tuple[bool, dict[str, Any]]:
    """Whether nothing is missing, and the stack as it is."""
    stack: dict[str, Any] = {}
    account = Account(client, plan.region, plan.command)
    wrong = refusals(template(), plan.given)
    if not told(Answer("MISSING", f"parameters: {each}", GIVE) for each in wrong):
        return False, stack
    if plan.region:
        known = told([account.identity()])
    else:
        known = told([Answer("MISSING", "a region", "export AWS_REGION=eu-central-1, or region in samconfig.toml")])
    ready = known
    if known:
        try:
            stack = account.stack(plan.stack)
            ready = told([account.state(plan.stack, stack.get("StackStatus", ""))])
        except Denied as denied:
            told([Answer("unknown", f"the stack {plan.stack}: {denied}")])
    # What is not given keeps its value, as sam deploy has it
    present = {name: value for name, value in parameters(stack).items() if name in template()["Parameters"]}
    values = Values(template(), present | plan.given)
    wrong = values.complaints()
    if not told(Answer("MISSING", f"parameters: {each}", GIVE) for each in wrong):
        return False, stack
    told([Answer("ok", "the parameters go together")])
    for name, value in plan.given.items():
        now = present.get(name, str(template()["Parameters"][name].get("Default", "")))
        if present and now != value:
            told([Answer("note", f"{name} changes from '{now}' to '{value}'")])
    ready &= told([builder()])
    return known and told(account.answers(values, present)) and ready, stack


def parameters(stack: dict[str, Any]) -> dict[str, str]:
    """The parameters that the stack has; those of a change set that nobody carried out do not count."""
    made = stack.get("StackStatus") != "REVIEW_IN_PROGRESS"
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", []) if made}


# pyenv finds python3.13 only when told
BUILD = {"PYENV_VERSION": "3.13", "SAM_CLI_TELEMETRY": "0"}


def builder() -> Answer:
    """Whether this machine has the Python that the functions are built with."""
    try:
        done = subprocess.run(["python3.13", "--version"], env=os.environ | BUILD, capture_output=True)
        if done.returncode == 0:
            return Answer("ok", "python3.13 for the build")
    except OSError:
        pass
    return Answer("MISSING", "python3.13 for the build", "install it, so that python3.13 is on the PATH")


def sam(*arguments: str) -> str:
    """What SAM CLI prints. Raises CannotStart when it fails."""
    command = [str(SAM), *arguments]
    done = subprocess.run(command, env=os.environ | BUILD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        console.print(done.stdout, markup=False)
        raise CannotStart(f"sam {arguments[0]} has failed; the lines above say why.")
    return done.stdout


def released(text: str, known: Mapping[str, str]) -> str:
    """A template with another word at RELEASE for every text of it and all values of its parameters.

    SAM makes a new version of a function when the function's text changes. It does not see what a parameter, a
    condition or another resource stands for: the alias would stay at a version with the old values.
    """
    word = sha256(json.dumps([text, known], sort_keys=True).encode()).hexdigest()[:16]
    return re.sub(r"(?m)^( +RELEASE:) .*$", rf"\1 '{word}'", text)


def change_set(plan: Plan, known: Mapping[str, str]) -> str:
    """Build, upload, and let CloudFormation say what would change: its ARN, empty if nothing would."""
    console.print(f"Building for {known['Architecture']} ...")
    sam("build", "--parameter-overrides", f"Architecture={known['Architecture']}")
    built = ROOT / ".aws-sam/build/template.yaml"
    built.write_text(released(built.read_text(), known))
    console.print("Uploading ...")
    overrides = [f'{name}="{value}"' for name, value in plan.given.items()]
    where = ["--config-env", plan.environment, "--region", plan.region]
    how = ["--no-execute-changeset", "--no-fail-on-empty-changeset"]
    told = sam("deploy", *where, *how, *(["--parameter-overrides", *overrides] if overrides else []))
    found = re.search(r"arn:[\w-]+:cloudformation:\S+:changeSet/\S+", told)
    return found[0] if found else ""


def changes(cloudformation: Any, arn: str) -> Iterator[dict[str, Any]]:
    """What a change set would change."""
    more: dict[str, str] = {}
    while True:
        page = cloudformation.describe_change_set(ChangeSetName=arn, **more)
        yield from (each["ResourceChange"] for each in page["Changes"] if each["Type"] == "Resource")
        if "NextToken" not in page:
            return
        more = {"NextToken": page["NextToken"]}


def in_the_way(change: dict[str, Any]) -> bool:
    """Whether the resource would be made anew under the name that it has."""
    name = NAMED.get(change["ResourceType"])
    targets = [detail["Target"].get("Name") for detail in change.get("Details", [])]
    return name is not None and change.get("Replacement") == "True" and name not in targets


def agreed(plan: Plan, wanted: list[dict[str, Any]], present: dict[str, str]) -> bool:
    """Show what would change; whether it can be done, and the user wants it."""
    how = {"True": "replaced", "Conditional": "perhaps replaced", "False": "in place"}
    for each in sorted(wanted, key=lambda each: (each.get("Replacement") != "True", each["Action"])):
        row = f"{each['Action']:<7} {each['LogicalResourceId']:<42} {each['ResourceType']:<36} "
        console.print((row + how.get(each.get("Replacement", ""), "")).rstrip(), markup=False)
    if stuck := [each["LogicalResourceId"] for each in wanted if in_the_way(each)]:
        raise_it = plan.command(f"StoreGeneration={int(present.get('StoreGeneration', '1')) + 1}")
        console.print(
            f"[red]{', '.join(stuck)} would be replaced, and the new one would need the name of the old one.[/]\n"
            f"Raise the number in the name: {safe(raise_it)}\n"
            "Then the new store is empty, unless it starts from a snapshot (RestoreSnapshotArn, RestoreSnapshotName)."
        )
        return False
    if any(
        each["ResourceType"] in STORES and (each["Action"] == "Remove" or each.get("Replacement") == "True")
        for each in wanted
    ):
        console.print(EMPTY)
        if os.environ.get("YES") == "1" != os.environ.get("REPLACE"):
            console.print("YES=1 alone does not replace a store. If you want that: REPLACE=1, too.")
            return False
    if os.environ.get("YES") == "1":
        return True
    try:
        return input("Deploy these changes? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False


def discard(cloudformation: Any, arn: str, made: str) -> None:
    """Forget a change set, and the empty stack that was made for it."""
    cloudformation.delete_change_set(ChangeSetName=arn)
    if made and cloudformation.describe_stacks(StackName=made)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS":
        cloudformation.delete_stack(StackName=made)
    console.print("Nothing was changed.")


def events(cloudformation: Any, stack: str, seen: set[str]) -> list[dict[str, Any]]:
    """The events of a stack that were not seen yet, the oldest first."""
    new: list[dict[str, Any]] = []
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
        for event in page["StackEvents"]:
            if event["EventId"] in seen:
                return new[::-1]
            new.append(event)
    return new[::-1]


def carry_out(cloudformation: Any, arn: str) -> tuple[str, list[dict[str, Any]]]:
    """Execute a change set and show what happens, until it has ended: the status, and all events."""
    stack = cloudformation.describe_change_set(ChangeSetName=arn)["StackId"]
    seen = {event["EventId"] for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]}
    began = time.monotonic()
    cloudformation.execute_change_set(ChangeSetName=arn)
    happened: list[dict[str, Any]] = []
    while True:
        for event in events(cloudformation, stack, seen):
            seen.add(event["EventId"])
            happened.append(event)
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            status, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
            colour = "red" if status.endswith("_FAILED") else "green" if status.endswith("_COMPLETE") else "dim"
            what = f"{event['LogicalResourceId']:<32} {event['ResourceType']}  {reason}".rstrip()
            console.print(f"{minutes:>3}:{seconds:02}  [{colour}]{status:<18}[/] {safe(what)}")
            if event.get("PhysicalResourceId") == stack and not status.endswith("_IN_PROGRESS"):
                return status, happened
        time.sleep(PAUSE)


def failure(account: Account, plan: Plan, status: str, happened: list[dict[str, Any]]) -> None:
    """Say which resources failed first, and what to do."""
    console.print(f"[bold red]The deployment has failed:[/] {status}. What failed first:")
    failed = [
        event
        for event in happened
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    for event in failed[:5]:
        reason = event.get("ResourceStatusReason", "no reason is given")
        console.print(f"  {safe(event['LogicalResourceId'])} ({safe(event['ResourceType'])}): {safe(reason)}")
    if any("vailability zone" in event.get("ResourceStatusReason", "").lower() for event in failed):
        console.print('A store is not offered in every zone. Choose others: PARAMETERS="Zones=...,..."')
    if status == "UPDATE_ROLLBACK_COMPLETE":
        console.print(f"The stack is as it was before. Repair the cause, then {safe(plan.command())}")
    else:
        remedy = account.state(plan.stack, status).remedy or plan.command()
        console.print(f"Repair the cause, then {safe(remedy)}")


def first_steps(plan: Plan, outputs: dict[str, str], jwt: bool) -> int:
    """Try the API out, and say how to use it."""
    url, token = outputs["ApiUrl"], os.environ.get("TOKEN", "")
    result = smoke.run(url, token, only_health=jwt and not token)
    if jwt and not token:
        console.print(f"Callers need a token there; with one: TOKEN=... make smoke BASE_URL={url}")
    signed = (
        f"--aws-sigv4 aws:amz:{plan.region}:execute-api \\\n"
        '    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H "x-amz-security-token: $AWS_SESSION_TOKEN"'
    )
    curl = f"curl -s {url}/api/missions " + ('-H "authorization: Bearer $TOKEN"' if jwt else signed)
    export = "" if jwt else '  eval "$(aws configure export-credentials --format env)"\n'
    console.print(f"\nThe first request:\n{export}  {curl}\n", markup=False)
    for name, value in outputs.items():
        console.print(f"{name:<22} {value}", markup=False)
    return result


def deploy(plan: Plan, client: Callable[[str], Any], stack: dict[str, Any]) -> int:
    """Build, show what would change, ask, and do it."""
    if os.environ.get("YES") != "1" and not sys.stdin.isatty():
        raise CannotStart(f"There is no terminal to ask at. To deploy without a question: {plan.command()} YES=1")
    cloudformation = client("cloudformation")
    present = parameters(stack)
    known = (
        {name: str(kind.get("Default", "")) for name, kind in template()["Parameters"].items()} | present | plan.given
    )
    arn = change_set(plan, known)
    if not arn:
        console.print("Nothing would change: the stack is as the template and the parameters say.")
        return 0
    if not agreed(plan, list(changes(cloudformation, arn)), present):
        discard(cloudformation, arn, "" if stack else plan.stack)
        return 1
    try:
        status, happened = carry_out(cloudformation, arn)
    except KeyboardInterrupt:
        console.print(f"\nThe deployment goes on without you; how it ends: {safe(plan.command(target='deploy-check'))}")
        return 130
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        failure(Account(client, plan.region, plan.command), plan, status, happened)
        return 1
    made = cloudformation.describe_stacks(StackName=plan.stack)["Stacks"][0]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in made["Outputs"]}
    return first_steps(plan, outputs, bool(known["JwtIssuer"]))


def main(*arguments: str) -> int:
    """Check, and deploy unless the first argument is --check; 0 when nothing is missing and everything is done."""
    *only, environment = arguments
    try:
        plan = planned(environment)
        console.print(f"{safe(environment)}: stack {safe(plan.stack)} in {safe(plan.region or 'no region')}")
        session = boto3.Session(region_name=plan.region or None)
        client = cache(lambda service: session.client(service))
        ready, stack = check(plan, client)
        if not ready:
            console.print("[red]Something is missing.[/] Nothing was changed.")
            return 1
        if only:
            console.print(f"[green]Nothing is missing.[/] Next: {safe(plan.command())}")
            return 0
        return deploy(plan, client, stack)
    except CannotStart as error:
        console.print(f"[red]{safe(error)}[/]")
    except (ClientError, BotoCoreError) as error:
        console.print(f"[red]AWS was asked in vain:[/] {safe(error)}")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
