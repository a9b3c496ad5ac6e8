"""make deploy and deploy-check. The account is moto's; CloudFormation and Lambda's limits are botocore's stubs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import requests
from botocore.stub import Stubber
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from local import deploy
from local.account import STORE_ROLE, Account, Answer
from local.parameters import Values
from local.processes import ROOT, unused_port
from local.stack import CannotStart
from local.template import template

REGION = "eu-central-1"
STACK = f"arn:aws:cloudformation:{REGION}:123456789012:stack/missions-dev/1"
SET = f"arn:aws:cloudformation:{REGION}:123456789012:changeSet/samcli-deploy1/2"
BUILT = ".aws-sam/build/template.yaml"
SAMCONFIG = """
[default.deploy.parameters]
capabilities = "CAPABILITY_IAM"
[dev.deploy.parameters]
stack_name = "missions-dev"
parameter_overrides = "Store=serverless MaximumGigabytes=1 AlertEmail=dev@example.com"
[prod.deploy.parameters]
stack_name = "missions-prod"
region = "eu-west-1"
parameter_overrides = "Store=durable AlertEmail=ops@example.com"
"""


class Cloud:
    """An account in moto; services that a test stubs answer what the test says."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients: dict[str, Any] = {}
        self._stubs: dict[str, Stubber] = {}

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]
                endpoint_url=self._url,
                region_name=REGION,
                aws_access_key_id="local",
                aws_secret_access_key="local",
            )
        return self._clients[service]

    def stub(self, service: str) -> Stubber:
        if service not in self._stubs:
            self._stubs[service] = Stubber(self.client(service))
            self._stubs[service].activate()
        return self._stubs[service]

    def end_stubs(self) -> None:
        while self._stubs:
            self._stubs.popitem()[1].deactivate()

    def reset(self) -> None:
        """Make it a fresh account, which has ElastiCache's role."""
        requests.post(f"{self._url}/moto-api/reset", timeout=30).raise_for_status()
        self.client("iam").create_role(RoleName=STORE_ROLE, AssumeRolePolicyDocument="{}")

    def concurrency(self, limit: int) -> None:
        self.stub("lambda").add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": limit}})

    def deny(self, service: str, operation: str, code: str = "AccessDeniedException") -> None:
        self.stub(service).add_client_error(operation, code)

    def answers(self, present: dict[str, str] | None = None, /, **given: str) -> list[Answer]:
        account = Account(self.client, REGION, lambda more="": f"make deploy {more}".strip())
        return list(account.answers(Values(template(), given), present or {}))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", unused_port(), verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def clouds(moto: str) -> Cloud:
    made = Cloud(moto)  # its clients take a while to make
    made.reset()
    return made


@pytest.fixture
def cloud(
    clouds: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Cloud]:
    """A fresh account, and a samconfig.toml of its own."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "PARAMETERS", "YES", "TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "samconfig.toml").write_text(SAMCONFIG)
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    (tmp_path / BUILT).parent.mkdir(parents=True)
    (tmp_path / BUILT).write_text((ROOT / "template.yaml").read_text())
    session = SimpleNamespace(client=clouds.client, region_name=None)
    monkeypatch.setattr(deploy, "boto3", SimpleNamespace(Session=lambda **_: session))
    yield clouds
    clouds.end_stubs()
    if "deployment" not in request.fixturenames:  # which makes nothing in moto, and a reset takes a while
        clouds.reset()


def about(answers: list[Answer], word: str) -> Answer:
    """The one answer that has this word."""
    (found,) = (answer for answer in answers if word in answer.text)
    return found


def no_stack(cloudformation: Stubber) -> None:
    cloudformation.add_client_error("describe_stacks", "ValidationError", "Stack with id missions-dev does not exist")


def a_stack(cloudformation: Stubber, status: str = "CREATE_COMPLETE", **parameters: str) -> None:
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    outputs = [{"OutputKey": "ApiUrl", "OutputValue": "https://api.example.com"}]
    stack = {"StackName": "missions-dev", "StackStatus": status, "CreationTime": "2026-01-01", "Parameters": given}
    cloudformation.add_response("describe_stacks", {"Stacks": [{**stack, "Outputs": outputs}]})


# The check


def test_an_account_that_has_everything_is_told_so_and_nothing_is_changed(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.concurrency(1000)
    no_stack(cloud.stub("cloudformation"))
    assert deploy.main("--check", "dev") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dev: stack missions-dev in eu-central-1"
    assert [line.split()[0] for line in lines[1:-1]] == ["ok"] * 8
    assert lines[-1] == "Nothing is missing. Next: make deploy ENV=dev"


def test_something_that_is_missing_makes_the_check_fail(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.concurrency(1000)
    no_stack(cloud.stub("cloudformation"))
    cloud.client("iam").delete_role(RoleName=STORE_ROLE)
    assert deploy.main("--check", "dev") == 1
    out = capsys.readouterr().out
    assert (
        "\nMISSING the role AWSServiceRoleForElastiCache -> aws iam create-service-linked-role --aws-service-name"
        in out
    )


def test_parameters_are_added_to_those_of_samconfig(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMETERS", "MaximumGigabytes=2 JwtAudience='a b' CorsOrigin=")
    assert deploy.planned("dev").given == {
        "Store": "serverless",
        "AlertEmail": "dev@example.com",
        "MaximumGigabytes": "2",
        "JwtAudience": "a b",
        "CorsOrigin": "",
    }
    again = deploy.planned("dev").command("MaximumGigabytes=3")
    assert again == "make deploy ENV=dev PARAMETERS=\"MaximumGigabytes=3 JwtAudience='a b' CorsOrigin=\""


def test_the_region_is_that_of_the_environment_variables_or_of_samconfig(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deploy.planned("prod").region == REGION
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert (deploy.planned("prod").region, deploy.planned("dev").region) == ("eu-west-1", "")


@pytest.mark.parametrize(
    ("environment", "parameters", "told"),
    [
        ("test", "", "no environment 'test'. There are: ENV=dev, ENV=prod"),
        ("default", "", "no environment 'default'"),
        ("dev", "Store", "'Store' has not"),
        ("dev", "Store='serverless", "cannot be read"),
        ("dev", "Stores=durable", "there is no parameter Stores; did you mean Store?"),
        ("dev", "Store=memcached", "Store is 'memcached': give one of serverless, durable, external"),
        ("dev", "RequestRate=many", "RequestRate is 'many': give a number from 1 to 10000"),
        ("dev", "VpcId=mine", "VpcId is 'mine': give the id of a VPC"),
    ],
)
def test_nonsense_is_told_before_the_account_is_asked(
    cloud: Cloud,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
    parameters: str,
    told: str,
) -> None:
    for service in ("sts", "cloudformation"):
        cloud.stub(service)  # without an answer
    monkeypatch.setenv("PARAMETERS", parameters)
    assert deploy.main("--check", environment) == 1
    assert told in capsys.readouterr().out


def test_parameters_that_do_not_go_together_are_told_without_credentials_too(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARAMETERS", "NamespaceClaim=tenant")
    cloud.deny("sts", "get_caller_identity", "ExpiredToken")
    assert deploy.main("--check", "dev") == 1
    out = capsys.readouterr().out
    assert "MISSING the credentials have expired -> aws sso login" in out
    assert "MISSING parameters: NamespaceClaim is a claim of a token; give JwtIssuer and JwtAudience, too" in out


def test_what_the_stack_has_and_nobody_gives_counts(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARAMETERS", "NamespaceClaim=tenant")
    cloud.concurrency(1000)
    token = {"JwtIssuer": "https://issuer.example.com", "JwtAudience": "missions", "Gone": "from the template"}
    a_stack(cloud.stub("cloudformation"), **token)
    assert deploy.main("--check", "dev") == 0
    cloud.concurrency(1000)
    a_stack(cloud.stub("cloudformation"), "REVIEW_IN_PROGRESS", **token)
    assert deploy.main("--check", "dev") == 1
    assert "MISSING parameters: NamespaceClaim" in capsys.readouterr().out


def test_what_is_given_counts_more_than_what_the_stack_has(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, result in (("CorsOrigin=", 1), ("NamespaceClaim=", 0)):
        monkeypatch.setenv("PARAMETERS", given)
        cloud.concurrency(1000)
        a_stack(cloud.stub("cloudformation"), NamespaceClaim="tenant")
        assert deploy.main("--check", "dev") == result
        cloud.end_stubs()


def test_a_region_is_needed(cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert deploy.main("--check", "dev") == 1
    assert "MISSING a region -> export AWS_REGION=" in capsys.readouterr().out


def test_somebody_without_credentials_is_told_how_to_get_some(
    cloud: Cloud, moto: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setattr(deploy, "boto3", SimpleNamespace(Session=boto3.Session))
    assert deploy.main("--check", "dev") == 1
    told = "MISSING there are no usable credentials: Unable to locate credentials -> aws sso login, or aws configure"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "kind", "remedy"),
    [
        ("REVIEW_IN_PROGRESS", "ok", ""),
        ("CREATE_COMPLETE", "ok", ""),
        ("UPDATE_ROLLBACK_COMPLETE", "ok", ""),
        ("ROLLBACK_COMPLETE", "MISSING", "delete-stack --stack-name s --region eu-central-1, then again"),
        ("CREATE_FAILED", "MISSING", "delete-stack"),
        ("UPDATE_ROLLBACK_FAILED", "MISSING", "continue-update-rollback"),
        ("UPDATE_IN_PROGRESS", "MISSING", "wait until it is not: aws cloudformation describe-stacks --stack-name s"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "MISSING", "wait"),
    ],
)
def test_a_stack_that_cannot_be_changed_now_is_told_with_what_to_do(status: str, kind: str, remedy: str) -> None:
    answer = Account(lambda _: None, REGION, lambda: "again").state("s", status)
    assert (answer.kind, remedy in answer.remedy) == (kind, True)


def test_a_new_account_runs_few_functions_at_once_and_is_told_the_quota(cloud: Cloud) -> None:
    cloud.concurrency(10)
    answer = about(cloud.answers(), "Lambda")
    assert answer.kind == "note"
    wanted = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384"
    assert answer.remedy.startswith(wanted)


def test_a_vpc_is_made_only_where_one_more_may_be(cloud: Cloud) -> None:
    assert about(cloud.answers(), "VPCs") == Answer("ok", "1 of 5 VPCs are used")
    for _ in range(4):
        cloud.client("ec2").create_vpc(CidrBlock="10.0.0.0/24")
    answer = about(cloud.answers(), "VPCs")
    assert (answer.kind, answer.text) == ("MISSING", "5 of 5 VPCs are used")
    assert "--service-code vpc --quota-code L-F678F1CE --desired-value 6" in answer.remedy
    assert [answer for answer in cloud.answers({"VpcId": ""}) if "VPCs" in answer.text] == []  # it has one already


def test_an_external_store_needs_no_role_of_elasticache(cloud: Cloud) -> None:
    cloud.client("iam").delete_role(RoleName=STORE_ROLE)
    assert about(cloud.answers(), STORE_ROLE).kind == "MISSING"
    assert [answer for answer in cloud.answers(**external(cloud)) if STORE_ROLE in answer.text] == []


def test_the_zones_must_be_there_and_have_an_endpoint_of_eventbridge(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert about(cloud.answers(), "zone") == Answer("ok", "zones eu-central-1a and eu-central-1b")
    assert about(cloud.answers(Zones="eu-central-1c,eu-central-1a"), "zone").kind == "ok"
    answer = about(cloud.answers(Zones="eu-central-1a,eu-central-1x"), "zone")
    assert (answer.kind, answer.text.partition(":")[0]) == ("MISSING", "zone eu-central-1x")
    assert answer.remedy == "make deploy Zones=eu-central-1a,eu-central-1b"
    assert about(cloud.answers(Zones="eu-central-1a,eu-central-1a"), "zone").kind == "MISSING"
    monkeypatch.setattr(Account, "_with_endpoints", lambda _: {"eu-central-1b", "eu-central-1c"})
    answer = about(cloud.answers(), "zone")
    assert (answer.text.partition(":")[0], answer.remedy[-27:]) == ("zone eu-central-1a", "eu-central-1b,eu-central-1c")


def vpc(cloud: Cloud, *zones: str) -> dict[str, str]:
    """A VPC with a subnet in each of these zones, as parameters."""
    ec2 = cloud.client("ec2")
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=made, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=REGION + zone)["Subnet"]
        for number, zone in enumerate(zones or ("a", "b"))
    ]
    return {"VpcId": made, "SubnetIds": ",".join(subnet["SubnetId"] for subnet in subnets)}


def endpoint(cloud: Cloud, where: dict[str, str], service: str = "events", **how: Any) -> str:
    """Make an interface endpoint there; gives its security group."""
    ec2 = cloud.client("ec2")
    group = ec2.create_security_group(GroupName=f"{service}", Description="d", VpcId=where["VpcId"])["GroupId"]
    made = {"PrivateDnsEnabled": True, "SecurityGroupIds": [group], **how}
    name = f"com.amazonaws.{REGION}.{service}"
    ec2.create_vpc_endpoint(VpcId=where["VpcId"], ServiceName=name, VpcEndpointType="Interface", **made)
    return str(made["SecurityGroupIds"][0])


def external(cloud: Cloud, **secret: str) -> dict[str, str]:
    """A VPC and a secret for an external store, as parameters."""
    arn = cloud.client("secretsmanager").create_secret(Name="redis-url", SecretString="rediss://h", **secret)["ARN"]
    return {"Store": "external", "RedisUrlSecretArn": arn, "RedisCidr": "10.1.2.0/24", **vpc(cloud)}


def test_subnets_must_be_in_the_vpc_and_in_different_zones(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    good, other = vpc(cloud), vpc(cloud, "a", "a")
    assert about(cloud.answers(**good), "subnets").kind == "ok"
    for given, told in (
        ({**good, "SubnetIds": f"{good['SubnetIds']},subnet-0a1b2c3d"}, "there is no subnet-0a1b2c3d"),
        ({**other, "SubnetIds": good["SubnetIds"]}, f"is in {good['VpcId']}, not in {other['VpcId']}"),
        (other, "two subnets are in one zone (eu-central-1a, eu-central-1a)"),
    ):
        answer = about(cloud.answers(**given), "subnets")
        assert (answer.kind, told in answer.text) == ("MISSING", True), answer
        assert f"Name=vpc-id,Values={given['VpcId']} " in answer.remedy
    monkeypatch.setattr(Account, "_with_endpoints", lambda _: {"eu-central-1b"})
    assert "zone eu-central-1a has no endpoint" in about(cloud.answers(**good), "subnets").text


def test_endpoints_that_a_vpc_has_are_suggested(cloud: Cloud) -> None:
    where = vpc(cloud)
    assert about(cloud.answers(**where), "endpoints").text.endswith("will be made")
    group = endpoint(cloud, where)
    answer = about(cloud.answers(**where), "endpoints")
    assert (answer.kind, answer.remedy) == ("note", f"make deploy EndpointSecurityGroupId={group}")
    own = {**where, "EndpointSecurityGroupId": ""}  # then it is that of the stack itself
    assert [each for each in cloud.answers(own, **where) if "endpoints" in each.text] == []


def test_endpoints_that_are_given_must_be_there_with_private_names(cloud: Cloud) -> None:
    where = vpc(cloud)
    given = {**where, "EndpointSecurityGroupId": "sg-0a1b2c3d"}
    answer = about(cloud.answers(**given), "endpoints")
    assert (answer.kind, answer.remedy) == ("MISSING", "make deploy EndpointSecurityGroupId=")
    group = endpoint(cloud, where, PrivateDnsEnabled=False)
    given["EndpointSecurityGroupId"] = group
    assert about(cloud.answers(**given), "endpoints").remedy == "make deploy EndpointSecurityGroupId="
    other = endpoint(cloud, where := vpc(cloud))
    answer = about(cloud.answers(**{**given, **where}), "endpoints")
    assert (answer.kind, answer.remedy) == ("MISSING", f"make deploy EndpointSecurityGroupId={other}")


def test_an_external_store_needs_an_endpoint_of_secrets_manager_with_the_same_group(cloud: Cloud) -> None:
    given = external(cloud)
    group = endpoint(cloud, given)
    assert about(cloud.answers(**given), "endpoints").text.endswith("will be made")
    chosen = {**given, "EndpointSecurityGroupId": group}
    assert about(cloud.answers(**chosen), "endpoints").kind == "MISSING"
    endpoint(cloud, given, "secretsmanager", SecurityGroupIds=[group])
    assert about(cloud.answers(**chosen), "endpoints").kind == "ok"
    assert about(cloud.answers(**given), "endpoints").remedy.endswith(f"EndpointSecurityGroupId={group}")


def test_the_archive_needs_the_list_of_s3_and_in_a_vpc_that_is_given_an_endpoint(cloud: Cloud) -> None:
    ec2, name = cloud.client("ec2"), f"com.amazonaws.{REGION}.s3"
    only = [{"Name": "prefix-list-name", "Values": [name]}]
    (s3,) = ec2.describe_managed_prefix_lists(Filters=only)["PrefixLists"]
    given = {"ArchiveBucket": "example-missions", "ArchivePrefixListId": "pl-00000000"}
    answer = about(cloud.answers(**given), "prefix list")
    assert (answer.kind, answer.remedy) == ("MISSING", f"make deploy ArchivePrefixListId={s3['PrefixListId']}")
    given["ArchivePrefixListId"] = s3["PrefixListId"]
    assert [each for each in cloud.answers(**given) if "S3" in each.text] == []  # the stack makes the rest
    where = vpc(cloud)
    answer = about(cloud.answers(**given, **where), "gateway endpoint")
    assert (answer.kind, f"--service-name {name} --route-table-ids" in answer.remedy) == ("MISSING", True)
    ec2.create_vpc_endpoint(VpcId=where["VpcId"], ServiceName=name, VpcEndpointType="Gateway")
    assert about(cloud.answers(**given, **where), "gateway endpoint").kind == "ok"


def test_the_secret_must_be_there_with_the_default_key(cloud: Cloud) -> None:
    given = external(cloud)
    arn = given["RedisUrlSecretArn"]
    assert about(cloud.answers(**given), "the secret") == Answer("ok", "the secret redis-url")
    answer = about(cloud.answers(**{**given, "RedisUrlSecretArn": arn.replace(REGION, "eu-west-1")}), "the secret")
    assert answer.text == "the secret is in eu-west-1, and must be in eu-central-1"
    cloud.client("secretsmanager").update_secret(SecretId=arn, KmsKeyId="alias/mine")
    answer = about(cloud.answers(**given), "the secret")
    assert (answer.kind, "not with alias/mine" in answer.text) == ("MISSING", True)
    assert f"update-secret --secret-id {arn} --kms-key-id alias/aws/secretsmanager" in answer.remedy
    cloud.client("secretsmanager").update_secret(SecretId=arn, KmsKeyId="alias/aws/secretsmanager")
    assert about(cloud.answers(**given), "the secret").kind == "ok"
    cloud.client("secretsmanager").delete_secret(SecretId=arn)
    assert "restore-secret" in about(cloud.answers(**given), "the secret").remedy
    cloud.client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    assert "create-secret" in about(cloud.answers(**given), "the secret").remedy


@pytest.mark.parametrize(
    ("service", "operation", "code", "right"),
    [
        ("lambda", "get_account_settings", "AccessDeniedException", "lambda:GetAccountSettings"),
        ("iam", "get_role", "AccessDenied", "iam:GetRole"),
        ("ec2", "describe_availability_zones", "UnauthorizedOperation", "ec2:DescribeAvailabilityZones"),
    ],
)
def test_a_caller_who_may_not_ask_is_told_the_right_that_is_missing(
    cloud: Cloud, service: str, operation: str, code: str, right: str
) -> None:
    cloud.deny(service, operation, code)
    assert about(cloud.answers({"VpcId": ""}), f"this needs the right {right}").kind == "unknown"


def test_what_cannot_be_known_is_not_missing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.deny("lambda", "get_account_settings")
    cloud.deny("iam", "get_role", "AccessDenied")
    cloud.deny("service-quotas", "get_service_quota")
    cloud.deny("cloudformation", "describe_stacks", "AccessDenied")
    assert deploy.main("--check", "dev") == 0
    out = capsys.readouterr().out
    assert "unknown the stack missions-dev: this needs the right cloudformation:DescribeStacks" in out
    assert "ok      1 of 5 VPCs are used" in out


# The deployment


class Deployment:
    """A make deploy in front of stubs: what SAM CLI is asked for, what CloudFormation answers, what is printed."""

    def __init__(self, cloud: Cloud, told: Callable[[], str]) -> None:
        self.cloudformation = cloud.stub("cloudformation")
        self.sam: list[tuple[str, ...]] = []
        self.smoked: list[tuple[Any, ...]] = []
        self.told = told

    def run_sam(self, *arguments: str) -> str:
        self.sam.append(arguments)
        return f"Changeset created successfully. {SET}\n" if arguments[0] == "deploy" else ""

    def run_smoke(self, *arguments: Any, **options: Any) -> int:
        self.smoked.append((*arguments, options))
        return 0

    def answer(self, operation: str, answer: dict[str, Any], **asked: Any) -> None:
        self.cloudformation.add_response(operation, answer, asked or None)

    def changes(self, *changes: dict[str, Any], **more: str) -> None:
        page = [{"Type": "Resource", "ResourceChange": {"Action": "Modify", **each}} for each in changes]
        self.answer("describe_change_set", {"StackId": STACK, "Changes": page, **more})

    def events(self, *new: tuple[str, str, str]) -> None:
        """Of the stack, the oldest first: what, its status, and why."""
        events = [
            {
                "EventId": f"{name} {status}",
                "StackId": STACK,
                "StackName": "missions-dev",
                "LogicalResourceId": name,
                "PhysicalResourceId": STACK if name == "missions-dev" else name,
                "ResourceType": "AWS::Some::Thing",
                "ResourceStatus": status,
                "Timestamp": "2026-01-01",
                **({"ResourceStatusReason": why} if why else {}),
            }
            for name, status, why in new[::-1]
        ]
        self.answer("describe_stack_events", {"StackEvents": events})

    def execute(self, *new: tuple[str, str, str]) -> None:
        """The change set is carried out, and these are the events, which come in two looks."""
        self.changes()
        before = ("missions-dev", "REVIEW_IN_PROGRESS", "")
        self.events(before)
        self.answer("execute_change_set", {}, ChangeSetName=SET)
        self.events(before, *new[:2])
        self.events(before, *new)

    def run(self) -> int:
        result = deploy.main("dev")
        self.cloudformation.assert_no_pending_responses()
        return result


@pytest.fixture
def deployment(cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Deployment:
    made = Deployment(cloud, lambda: capsys.readouterr().out)
    cloud.concurrency(1000)
    monkeypatch.setattr(deploy, "PAUSE", 0)
    monkeypatch.setattr(deploy, "sam", made.run_sam)
    monkeypatch.setattr("local.deploy.smoke.run", made.run_smoke)
    monkeypatch.setenv("YES", "1")
    return made


def change(kind: str, replacement: str, *names: str, **more: str) -> dict[str, Any]:
    """A change of a resource because of these properties."""
    details = [{"Target": {"Attribute": "Properties", "Name": name}} for name in names]
    return {
        "LogicalResourceId": kind.rpartition(":")[2],
        "ResourceType": kind,
        "Replacement": replacement,
        "Details": details,
        **more,
    }


GONE_WELL = [
    ("missions-dev", "CREATE_IN_PROGRESS", "User Initiated"),
    ("Api", "CREATE_IN_PROGRESS", ""),
    ("Api", "CREATE_COMPLETE", ""),
    ("missions-dev", "CREATE_COMPLETE", ""),
]
CACHE = "AWS::ElastiCache::ServerlessCache"


def test_a_deployment_is_checked_built_shown_done_and_tried(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARAMETERS", "CorsOrigin= Architecture=x86_64")
    no_stack(deployment.cloudformation)
    first, second = change("AWS::SQS::Queue", "", Action="Add"), change(CACHE, "", Action="Add")
    for each in (first, second):
        del each["Replacement"]
    deployment.changes(first, NextToken="more")
    deployment.answer(
        "describe_change_set",
        {"Changes": [{"Type": "Resource", "ResourceChange": second}]},
        ChangeSetName=SET,
        NextToken="more",
    )
    deployment.execute(*GONE_WELL)
    a_stack(deployment.cloudformation)
    assert deployment.run() == 0
    build, upload = deployment.sam
    assert build == ("build", "--parameter-overrides", "Architecture=x86_64")
    assert upload[:5] == ("deploy", "--config-env", "dev", "--region", REGION)
    assert "--no-execute-changeset" in upload
    assert upload[-5:] == (
        'Store="serverless"',
        'MaximumGigabytes="1"',
        'AlertEmail="dev@example.com"',
        'CorsOrigin=""',
        'Architecture="x86_64"',
    )
    assert deployment.smoked == [("https://api.example.com", "", {"only_health": False})]
    out = deployment.told()
    assert "Add     Queue                                      AWS::SQS::Queue\n" in out
    assert "Add     ServerlessCache                            AWS::ElastiCache::ServerlessCache\n" in out
    assert out.count("CREATE_COMPLETE    missions-dev") == out.count("CREATE_IN_PROGRESS Api") == 1
    assert "curl -s https://api.example.com/api/missions --aws-sigv4 aws:amz:eu-central-1:execute-api" in out
    assert "ApiUrl                 https://api.example.com\n" in out
    assert "replaced" not in out


def test_with_tokens_the_first_request_has_one(deployment: Deployment) -> None:
    token = {"JwtIssuer": "https://issuer.example.com", "JwtAudience": "missions"}
    a_stack(deployment.cloudformation, **token)
    deployment.changes(change("AWS::SQS::Queue", "False"))
    deployment.execute(*GONE_WELL)
    a_stack(deployment.cloudformation, **token)
    assert deployment.run() == 0
    assert deployment.smoked == [("https://api.example.com", "", {"only_health": True})]
    out = deployment.told()
    assert 'curl -s https://api.example.com/api/missions -H "authorization: Bearer $TOKEN"' in out
    assert "TOKEN=... make smoke BASE_URL=https://api.example.com" in out
    assert "note    MaximumGigabytes changes from '10' to '1'\n" in out


@pytest.mark.parametrize(
    "kind", [CACHE, *(f"AWS::ElastiCache::{each}" for each in ("ReplicationGroup", "User", "UserGroup"))]
)
def test_what_has_a_name_is_not_replaced_under_the_same_name(deployment: Deployment, kind: str) -> None:
    a_stack(deployment.cloudformation, StoreGeneration="4")
    deployment.changes(change("AWS::SQS::Queue", "True"), change(kind, "True", "Engine"))
    deployment.answer("delete_change_set", {}, ChangeSetName=SET)
    assert deployment.run() == 1
    out = deployment.told()
    assert f"Modify  {kind[18:]:<42} {kind:<36} replaced\n" in out
    assert f"{kind[18:]} would be replaced, and the new one would need the name of the old one." in out
    assert 'make deploy ENV=dev PARAMETERS="StoreGeneration=5"' in out
    assert "the new store is empty, unless it starts from a snapshot" in out
    assert "Nothing was changed." in out


@pytest.mark.parametrize(
    "changed",
    [change(CACHE, "True", "ServerlessCacheName"), {**change(CACHE, "False"), "Action": "Remove"}],
    ids=["replaced", "removed"],
)
def test_a_new_store_is_made_with_a_word_on_what_it_holds(
    deployment: Deployment, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_stack(deployment.cloudformation)
    deployment.changes(changed)
    deployment.execute(*GONE_WELL)
    a_stack(deployment.cloudformation)
    monkeypatch.setenv("REPLACE", "1")
    assert deployment.run() == 0
    assert "The store is replaced: the new one is empty, unless" in deployment.told()


def test_a_new_store_is_not_made_without_anybody_to_ask(deployment: Deployment) -> None:
    a_stack(deployment.cloudformation)
    deployment.changes(change(CACHE, "True", "ServerlessCacheName"))
    deployment.answer("delete_change_set", {}, ChangeSetName=SET)
    assert deployment.run() == 1
    out = deployment.told()
    assert "YES=1 alone does not replace a store" in out
    assert "Nothing was changed." in out


def test_what_samconfig_would_take_back_is_told_by_the_check(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.concurrency(1000)
    a_stack(cloud.stub("cloudformation"), Store="durable", MaximumGigabytes="1")
    deploy.main("--check", "dev")
    out = capsys.readouterr().out
    assert "note    Store changes from 'durable' to 'serverless'\n" in out
    assert "MaximumGigabytes" not in out


def test_without_the_python_of_the_functions_nothing_is_begun(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.concurrency(1000)
    no_stack(cloud.stub("cloudformation"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert deploy.main("--check", "dev") == 1
    assert "MISSING python3.13 for the build -> install it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "given", "there_are"),
    [("deploy-check", "env=prod", "ENV"), ("deploy", "AlertEmail=a@b", "PARAMETERS"), ("smoke", "URL=x", "BASE_URL")],
)
def test_a_mistyped_name_is_no_other_stack(target: str, given: str, there_are: str) -> None:
    # without what the make that runs the tests was given
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    done = subprocess.run(["make", target, given], cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"There is no '{given.partition('=')[0]}' for make {target}. There are " in done.stderr
    assert there_are in done.stderr


def test_a_named_thing_that_changes_in_place_is_not_in_the_way(deployment: Deployment) -> None:
    a_stack(deployment.cloudformation)
    deployment.changes(change(CACHE, "False", "CacheUsageLimits"))
    deployment.execute(*GONE_WELL)
    a_stack(deployment.cloudformation)
    assert deployment.run() == 0
    assert "is empty" not in deployment.told()


@pytest.mark.parametrize("answer", ["", "n", "what", None])
def test_without_a_yes_nothing_is_changed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, answer: str | None
) -> None:
    def ask(question: str) -> str:
        assert question == "Deploy these changes? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.delenv("YES")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", ask)
    a_stack(deployment.cloudformation)
    deployment.changes(change("AWS::SQS::Queue", "False"))
    deployment.answer("delete_change_set", {}, ChangeSetName=SET)
    assert deployment.run() == 1
    assert "Nothing was changed." in deployment.told()


@pytest.mark.parametrize(("status", "forgotten"), [("REVIEW_IN_PROGRESS", True), ("CREATE_COMPLETE", False)])
def test_the_empty_stack_of_a_change_set_is_forgotten_with_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, status: str, forgotten: bool
) -> None:
    monkeypatch.setattr(deploy, "agreed", lambda *_: False)
    no_stack(deployment.cloudformation)
    deployment.changes()
    deployment.answer("delete_change_set", {}, ChangeSetName=SET)
    a_stack(deployment.cloudformation, status)  # somebody else may have made it since
    if forgotten:
        deployment.answer("delete_stack", {}, StackName="missions-dev")
    assert deployment.run() == 1


def test_without_a_terminal_a_yes_is_needed_before_anything_is_built(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YES")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    no_stack(deployment.cloudformation)
    assert deployment.run() == 1
    assert deployment.sam == []
    assert "no terminal to ask at. To deploy without a question: make deploy ENV=dev YES=1" in deployment.told()


def test_new_parameters_make_new_versions_of_the_functions(deployment: Deployment, tmp_path: Path) -> None:
    # what SAM compares, the text of the template, would be the same
    words = []
    for level in ("INFO", "ERROR", "ERROR"):
        (tmp_path / BUILT).write_text((ROOT / "template.yaml").read_text())  # as sam build does
        assert deploy.change_set(deploy.planned("dev"), {"Architecture": "arm64", "LogLevel": level}) == SET
        words.append(re.findall(r"RELEASE: '(\w+)'", (tmp_path / BUILT).read_text()))
    assert [len(each) for each in words] == [3, 3, 3]  # of all functions, of the console, and of the canary
    assert words[0] != words[1] == words[2]


def test_nothing_is_built_when_something_is_missing(deployment: Deployment) -> None:
    a_stack(deployment.cloudformation, "ROLLBACK_COMPLETE")
    assert deployment.run() == 1
    assert deployment.sam == []


def test_a_stack_that_is_as_it_should_be_is_left_alone(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "sam", lambda *_: "No changes to deploy. Stack missions-dev is up to date")
    a_stack(deployment.cloudformation)
    assert deployment.run() == 0
    assert "Nothing would change" in deployment.told()


def test_a_failure_is_told_by_what_failed_first_and_what_to_do(deployment: Deployment) -> None:
    no_stack(deployment.cloudformation)
    deployment.changes()
    deployment.execute(
        ("missions-dev", "CREATE_IN_PROGRESS", ""),
        ("ServerlessCache", "CREATE_FAILED", "the Availability Zone is not supported"),
        ("Archive", "CREATE_FAILED", "Resource creation cancelled"),
        ("missions-dev", "ROLLBACK_COMPLETE", ""),
    )
    assert deployment.run() == 1
    assert deployment.smoked == []
    told = deployment.told().partition("The deployment has failed: ROLLBACK_COMPLETE. What failed first:\n")[2]
    assert told.splitlines() == [
        "  ServerlessCache (AWS::Some::Thing): the Availability Zone is not supported",
        'A store is not offered in every zone. Choose others: PARAMETERS="Zones=...,..."',
        "Repair the cause, then aws cloudformation delete-stack --stack-name missions-dev --region eu-central-1, "
        "then make deploy ENV=dev",
    ]


def test_after_a_failed_change_the_stack_is_as_before(deployment: Deployment) -> None:
    a_stack(deployment.cloudformation)
    deployment.changes()
    deployment.execute(
        ("Api", "UPDATE_FAILED", "it cannot"),
        ("Key", "UPDATE_FAILED", ""),
        ("missions-dev", "UPDATE_ROLLBACK_COMPLETE", ""),
    )
    assert deployment.run() == 1
    told = deployment.told()
    assert "  Key (AWS::Some::Thing): no reason is given\nThe stack is as it was before." in told
    assert "Zones" not in told


def test_somebody_who_stops_watching_is_told_that_it_goes_on(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deploy, "carry_out", stop)
    a_stack(deployment.cloudformation)
    deployment.changes()
    assert deployment.run() == 130
    assert "goes on without you; how it ends: make deploy-check ENV=dev" in deployment.told()


def test_what_sam_says_when_it_fails_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fake = tmp_path / "sam"
    fake.write_text(f'#!/bin/sh\necho "[why] $PYENV_VERSION $*" >&2\nexit {os.EX_USAGE}\n')
    fake.chmod(0o700)
    monkeypatch.setattr(deploy, "SAM", fake)
    with pytest.raises(CannotStart, match="sam build has failed"):
        deploy.sam("build", "now")
    assert capsys.readouterr().out == "[why] 3.13 build now\n\n"


def test_an_answer_that_nobody_expects_from_aws_is_told(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.cloudformation.add_client_error("describe_stacks", "Throttling", "Rate exceeded")
    assert deployment.run() == 1
    assert "AWS was asked in vain: An error occurred (Throttling)" in deployment.told()
