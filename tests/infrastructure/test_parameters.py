"""Parameters that make no sense are refused before anything is made, with a word on what to give."""

import tomllib

import pytest

from local.parameters import Values, refusal
from tests.infrastructure.stack import ARCHIVE, DEPLOYMENTS, EXTERNAL, JWT, OWN_VPC, ROOT, source

SECRET = EXTERNAL["RedisUrlSecretArn"]
SNAPSHOT = "arn:aws:elasticache:eu-central-1:123456789012:serverlesscachesnapshot:missions-final"


@pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_sensible_deployment_is_taken(given: dict[str, str]) -> None:
    assert Values(source(), given).complaints() == []


def of(environment: str) -> dict[str, str]:
    """The parameters of an environment in samconfig.toml."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    return dict(each.split("=") for each in config[environment]["deploy"]["parameters"]["parameter_overrides"].split())


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_environments_of_samconfig_are_taken(environment: str) -> None:
    given = {"AlertEmail": "ops@example.com"} | of(environment)
    assert Values(source(), given).complaints() == []
    assert [name for name, value in given.items() if not allowed(name, value)] == []


def test_prod_is_refused_until_it_is_said_who_is_told() -> None:
    (complaint,) = Values(source(), of("prod")).complaints()
    assert "AlertEmail" in complaint
    assert Values(source(), of("prod") | {"AlertEmail": "nobody"}).complaints() == []


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({**EXTERNAL, "RedisUrlSecretArn": ""}, "needs RedisUrlSecretArn"),
        ({**EXTERNAL, "RedisCidr": ""}, "needs RedisCidr"),
        ({**EXTERNAL, "VpcId": "", "SubnetIds": ""}, "needs VpcId and SubnetIds"),
        ({"RedisUrlSecretArn": SECRET}, "go with Store=external"),
        ({"RedisCidr": "10.1.2.0/24", "Store": "durable"}, "go with Store=external"),
        ({"Store": "durable", "Engine": "redis"}, "give Engine=valkey"),
        ({"VpcId": OWN_VPC["VpcId"]}, "give VpcId and SubnetIds"),
        ({"SubnetIds": OWN_VPC["SubnetIds"]}, "give VpcId and SubnetIds"),
        ({"EndpointSecurityGroupId": "sg-0a1b2c3d"}, "give VpcId and SubnetIds"),
        ({"JwtIssuer": JWT["JwtIssuer"]}, "give JwtIssuer and JwtAudience together"),
        ({"JwtAudience": JWT["JwtAudience"]}, "give JwtIssuer and JwtAudience together"),
        ({"NamespaceClaim": "tenant"}, "give JwtIssuer and JwtAudience"),
        ({"RedisCa": "A" * 200}, "go with Store=external"),
        ({"RestoreSnapshotArn": SNAPSHOT, "Store": "durable"}, "give RestoreSnapshotName"),
        ({**EXTERNAL, "RestoreSnapshotArn": SNAPSHOT}, "goes with Store=serverless"),
        ({"RestoreSnapshotName": "last-week"}, "give RestoreSnapshotArn"),
        ({**OWN_VPC, "Zones": "eu-central-1a,eu-central-1b"}, "SubnetIds say where"),
        ({"AlertEmail": ""}, "or AlertEmail=nobody"),
        ({"ArchiveBucket": ARCHIVE["ArchiveBucket"]}, "give ArchiveBucket and ArchivePrefixListId together"),
        ({"ArchivePrefixListId": ARCHIVE["ArchivePrefixListId"]}, "describe-managed-prefix-lists"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_word_on_what_to_give(given: dict[str, str], advice: str) -> None:
    complaints = Values(source(), {"AlertEmail": "ops@example.com"} | given).complaints()
    assert len(complaints) == 1
    assert advice in complaints[0]


def allowed(name: str, value: str) -> bool:
    """Whether the declaration of the parameter takes this value."""
    return refusal(source()["Parameters"][name], value) == ""


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("NodeType", "cache.r7g.2xlarge", "cache.t4g.micro"),
        ("NodeType", "cache.c7gn.large", "large"),
        ("RedisUrlSecretArn", SECRET, "rediss://user:password@host"),
        ("RedisCidr", "10.1.2.3/32", "0.0.0.0/0"),
        ("VpcId", "vpc-0a1b2c3d4e5f60718", "my-vpc"),
        ("SubnetIds", "subnet-0a1b2c3d,subnet-4e5f6071", "subnet-0a1b2c3d"),
        ("SubnetIds", "", "subnet-0a1b2c3d, subnet-4e5f6071"),
        ("EndpointSecurityGroupId", "sg-0a1b2c3d", "default"),
        ("JwtIssuer", "https://issuer.example.com/", "http://issuer.example.com"),
        ("JwtIssuer", "https://login.example.com/realms/a-b_c", 'https://login.example.com/"'),
        ("JwtAudience", "api://missions", 'missions", "operate": "true'),
        ("NamespaceClaim", "custom:tenant", "$.tenant"),
        ("CorsOrigin", "https://app.example.com", "*"),
        ("CorsOrigin", "http://localhost:3000", "https://app.example.com/"),
        ("AlertEmail", "ops@example.com", "ops"),
        ("AlertEmail", "nobody", "somebody"),
        ("RedisCa", "QUJD" * 300, "-----BEGIN CERTIFICATE-----"),
        ("RestoreSnapshotArn", SNAPSHOT, "missions-final"),
        ("RestoreSnapshotArn", SNAPSHOT.replace("serverlesscache", ""), "arn:aws:s3:::bucket/backup.rdb"),
        ("RestoreSnapshotName", "automatic.missions-2026-11-26", "-"),
        ("StoreGeneration", "2", "0"),
        ("Zones", "eu-central-1a,eu-central-1b", "eu-central-1a"),
        ("CanarySchedule", "rate(1 hour)", "hourly"),
        ("CanarySchedule", "", "never"),
        ("Deployment", "Linear10PercentEvery1Minute", "Slowly"),
        ("Tracing", "Active", "on"),
        ("MaximumEcpu", "1000", "999"),
        ("RequestRate", "1", "0"),
        ("MaximumGigabytes", "5000", "5001"),
        ("RetentionDays", "30", "31"),
        ("MissionRetentionDays", "0", "-1"),
        ("MissionRetentionDays", "3650", "3651"),
        ("ArchiveBucket", "my.missions-1", "s3://missions"),
        ("ArchiveBucket", "", "No_Bucket"),
        ("ArchivePrefixListId", "pl-6ea54007", "com.amazonaws.eu-central-1.s3"),
        ("SnapStart", "None", "off"),
        ("Store", "external", "memcached"),
    ],
)
def test_a_parameter_takes_what_it_can_use_and_nothing_else(name: str, good: str, bad: str) -> None:
    assert allowed(name, good)
    assert not allowed(name, bad)


def test_every_parameter_is_explained_and_every_pattern_says_what_to_give() -> None:
    for name, declared in source()["Parameters"].items():
        assert declared["Description"], name
        assert "AllowedPattern" not in declared or declared["ConstraintDescription"].startswith("give "), name
        assert "Default" in declared, name
        assert allowed(name, str(declared["Default"])), name


def test_no_parameter_is_a_password() -> None:
    assert [name for name, kind in source()["Parameters"].items() if "NoEcho" in kind or "Password" in name] == []
