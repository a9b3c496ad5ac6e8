"""What the stack promises, read from the transformed template, and that each promise would be missed if it were broken.

A promise is a function that gives complaints. Every one is tried on several deployments, where it has none, and on a
template that was broken on purpose, where it has some.
"""

import json
from collections.abc import Callable
from functools import cache as remembered
from pathlib import Path
from typing import Any

import cfnlint
import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult
from samcli.yamlhelper import yaml_parse

from local.deploy import released
from tests.infrastructure.stack import (
    ARCHIVE,
    DEPLOYMENTS,
    EXTERNAL,
    OWN_VPC,
    ROOT,
    Json,
    Stack,
    listed,
    source,
    transformed,
)

WRITERS = {
    f"{name}Function"
    for name in (
        *("CreateMission", "UpdateStatus", "AppendLogEntry", "ClaimMission", "RetryMission", "CancelMissions"),
        *("RelayEvents", "SweepMissions", "OperateEvents"),
    )
}
OPEN = {"GET /api/missions/health", "GET /console", "GET /console/{proxy+}"}
LOG_GROUPS = "arn:aws:logs:eu-central-1:123456789012:log-group"
CANARY = "CanaryFunction"
OUTSIDE = {CANARY, "GetConsoleFunction"}  # they are not in the network, have no snapshot, and change over at once
AWS_POLICIES = {  # writing logs, network interfaces and traces, and moving aliases: SAM attaches them
    "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess",
    "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambda",
    "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
}
ANYWHERE = {"0.0.0.0/0", "::/0"}
ARCHIVED = f"arn:aws:s3:::{ARCHIVE['ArchiveBucket']}/missions/*"  # the one resource that cannot be named as a whole


def policies(stack: Stack, role: str) -> list[Json]:
    """The policy documents of a role that this template writes."""
    properties = stack.of("AWS::IAM::Role")[role]
    managed = stack.of("AWS::IAM::ManagedPolicy")
    own = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    return own + [managed[arn]["PolicyDocument"] for arn in properties.get("ManagedPolicyArns", []) if arn in managed]


def may(stack: Stack, role: str, action: str, resource: str) -> bool:
    """Whether a role's own policies let it do this, as moto's IAM enforcement decides."""
    results = {
        IAMPolicy({"policy_document": json.dumps(document)}).is_action_permitted(action, resource)
        for document in policies(stack, role)
    }
    return PermissionResult.PERMITTED in results and PermissionResult.DENIED not in results


def role_of(stack: Stack, function: str) -> str:
    return str(stack.of("AWS::Lambda::Function")[function]["Role"].removesuffix(".Arn"))


def in_the_network(stack: Stack) -> dict[str, Json]:
    return {name: each for name, each in stack.of("AWS::Lambda::Function").items() if name not in OUTSIDE}


def only_those_who_write_may_put_events(stack: Stack) -> list[str]:
    functions = stack.of("AWS::Lambda::Function")
    able = {name for name in functions if may(stack, role_of(stack, name), "events:PutEvents", "EventBus.Arn")}
    elsewhere = {name for name in functions if may(stack, role_of(stack, name), "events:PutEvents", "OtherBus.Arn")}
    return [f"{name} may or may not, unlike what is said" for name in able ^ WRITERS] + [
        f"{name} may put events on any bus" for name in elsewhere
    ]


def the_bus_refuses_everybody_else_who_speaks_for_missions(stack: Stack) -> list[str]:
    trusted = {f"{role_of(stack, name)}.Arn" for name in WRITERS}

    def refused(principal: str, event_source: str) -> bool:
        for policy in stack.of("AWS::Events::EventBusPolicy").values():
            statement = policy["Statement"]
            conditions = statement["Condition"]
            assert conditions.keys() == {"StringEquals", "ArnNotEquals"}
            if (
                statement["Effect"] == "Deny"
                and statement["Principal"] == "*"
                and "events:PutEvents" in listed(statement["Action"])
                and statement["Resource"] == "EventBus.Arn"
                and event_source in listed(conditions["StringEquals"]["events:source"])
                and principal not in listed(conditions["ArnNotEquals"]["aws:PrincipalArn"])
            ):
                return True
        return False

    strangers = {f"{role}.Arn" for role in stack.of("AWS::IAM::Role")} - trusted | {
        "arn:aws:iam::123456789012:role/admin"
    }
    return (
        [f"{name} is refused" for name in trusted if refused(name, "missions_service")]
        + [f"{name} is not refused" for name in strangers if not refused(name, "missions_service")]
        + [f"{name} is refused another source" for name in strangers if refused(name, "another_service")]
    )


def every_function_has_a_role_of_its_own(stack: Stack) -> list[str]:
    functions = stack.of("AWS::Lambda::Function")
    roles = [role_of(stack, name) for name in functions]
    return [] if len(set(roles)) == len(functions) else [str(sorted(roles))]


def every_policy_names_actions_and_resources(stack: Stack) -> list[str]:
    found = []
    for name, role in stack.of("AWS::IAM::Role").items():
        foreign = set(role.get("ManagedPolicyArns", [])) - stack.of("AWS::IAM::ManagedPolicy").keys() - AWS_POLICIES
        found += [f"{name} has {arn}" for arn in foreign]
        for document in policies(stack, name):
            for statement in listed(document["Statement"]):
                resources = set(listed(statement["Resource"])) - {ARCHIVED}
                found += [f"{name}: {each}" for each in resources if "*" in each or not each]
                found += [f"{name}: {each}" for each in listed(statement["Action"]) if "*" in each]
    return found


def every_function_that_has_a_store_may_reach_it_and_no_other(stack: Stack) -> list[str]:
    store = stack.values.parameters["Store"]
    found = []
    for name in stack.of("AWS::Lambda::Function"):
        role = role_of(stack, name)
        reaches = {
            "serverless": may(stack, role, "elasticache:Connect", "ServerlessCache.ARN"),
            "durable": may(
                stack,
                role,
                "elasticache:Connect",
                "arn:aws:elasticache:eu-central-1:123456789012:replicationgroup:ReplicationGroup",
            ),
            "external": may(stack, role, "secretsmanager:GetSecretValue", EXTERNAL["RedisUrlSecretArn"]),
        }
        has_one = name not in ("GetOpenapiFunction", *OUTSIDE)
        if [kind for kind, able in reaches.items() if able] != [store] * has_one:
            found.append(f"{name}: {reaches}")
        if (has_one and store != "external") != may(stack, role, "elasticache:Connect", "StoreUser.Arn"):
            found.append(f"{name}: as which user?")
    return found


def only_the_sweeper_writes_missions_to_the_archive_and_nobody_reads_it(stack: Stack) -> list[str]:
    functions = stack.of("AWS::Lambda::Function")
    bucket = stack.values.parameters["ArchiveBucket"]
    found = []
    for name, function in functions.items():
        role, sweeps = role_of(stack, name), name == "SweepMissionsFunction"
        able = may(stack, role, "s3:PutObject", "arn:aws:s3:::example-missions/missions/2026/11/24/default/1.jsonl.gz")
        found += [f"{name} may write to it, or not"] if able != (sweeps and bool(bucket)) else []
        elsewhere = ("arn:aws:s3:::example-missions/other/1.jsonl.gz", "arn:aws:s3:::another/missions/1.jsonl.gz")
        found += [f"{name} may write to {each}" for each in elsewhere if may(stack, role, "s3:PutObject", each)]
        rights = ("s3:GetObject", "s3:DeleteObject", "s3:PutObjectAcl")
        found += [f"{name} may {right}" for right in rights if may(stack, role, right, ARCHIVED.replace("*", "1"))]
        told = function["Environment"]["Variables"].get("ARCHIVE_BUCKET")
        found += [f"{name} is told of {told}"] if told != (bucket if sweeps else None) else []
    return found


def missions_are_kept_as_long_as_is_said(stack: Stack) -> list[str]:
    days = stack.values.parameters["MissionRetentionDays"]
    return [
        name
        for name, function in in_the_network(stack).items()
        if function["Environment"]["Variables"].get("RETENTION_DAYS") != days
    ]


def every_route_but_health_and_the_console_is_behind_the_authorizer(stack: Stack) -> list[str]:
    body = stack.of("AWS::ApiGatewayV2::Api")["Api"]["Body"]
    routes = {
        f"{method.upper()} {path}": operation
        for path, operations in _paths(stack).items()
        for method, operation in operations.items()
    }
    found = [f"{route} goes nowhere" for route, each in routes.items() if "x-amazon-apigateway-integration" not in each]
    unguarded = {route for route, operation in routes.items() if operation.get("security") != [{"caller": []}]}
    found += [f"{route} is open, or not" for route in unguarded ^ OPEN]
    scheme = body["components"]["securitySchemes"]["caller"]
    if stack.values.parameters["JwtIssuer"]:
        jwt = {"issuer": "https://issuer.example.com", "audience": ["missions"]}
        good = scheme.get("x-amazon-apigateway-authorizer") == {
            "type": "jwt",
            "identitySource": "$request.header.Authorization",
            "jwtConfiguration": jwt,
        }
    else:
        good = (
            scheme.get("x-amazon-apigateway-authtype") == "awsSigv4" and "x-amazon-apigateway-authorizer" not in scheme
        )
    return found + ([] if good else [f"the authorizer is {scheme}"])


def cors_is_off_until_an_origin_is_given(stack: Stack) -> list[str]:
    cors = stack.of("AWS::ApiGatewayV2::Api")["Api"]["Body"].get("x-amazon-apigateway-cors")
    origin = stack.values.parameters["CorsOrigin"]
    return [] if (cors["allowOrigins"] == [origin] if origin else cors is None) else [f"{origin!r}: {cors}"]


def a_page_may_send_what_the_api_reads_and_read_what_it_answers(stack: Stack) -> list[str]:
    cors = stack.of("AWS::ApiGatewayV2::Api")["Api"]["Body"].get("x-amazon-apigateway-cors")
    if cors is None:
        return []
    sent = {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"}
    signed = {"x-amz-date", "x-amz-security-token", "x-amz-content-sha256"}
    found = [f"{name} may not be sent" for name in (sent | signed) - set(cors["allowHeaders"])]
    used = {method for operations in _paths(stack).values() for method in operations}
    found += [f"{method} is not allowed" for method in used - {each.lower() for each in cors["allowMethods"]}]
    answered = {"etag", "retry-after", "idempotency-replayed"}
    return found + [f"{name} cannot be read" for name in answered - set(cors["exposeHeaders"])]


def _paths(stack: Stack) -> Json:
    return stack.of("AWS::ApiGatewayV2::Api")["Api"]["Body"]["paths"]


def the_api_is_throttled_and_logged(stack: Stack) -> list[str]:
    (stage,) = stack.of("AWS::ApiGatewayV2::Stage").values()
    line = json.loads(stage.get("AccessLogSettings", {}).get("Format", "{}"))
    limits = {"ThrottlingRateLimit", "ThrottlingBurstLimit"}
    found = [] if stage.get("DefaultRouteSettings", {}).keys() >= limits else ["no limits"]
    for route in OPEN:
        own = stage.get("RouteSettings", {}).get(route, {})
        if not own or any(
            int(own[limit]) >= int(stage.get("DefaultRouteSettings", {}).get(limit, 0)) for limit in limits
        ):
            found.append(f"{route} is open, and takes as much as all others")
    return found + ([] if line.keys() >= {"request_id", "route", "status"} else [str(line)])


def nothing_needs_a_quota_that_a_new_account_lacks(stack: Stack) -> list[str]:
    reserved = {"ReservedConcurrentExecutions", "ProvisionedConcurrencyConfig"}
    resources = stack.of("AWS::Lambda::Function") | stack.of("AWS::Lambda::Alias")
    return [f"{name} reserves what is not there" for name, each in resources.items() if reserved & each.keys()]


def what_is_kept_is_encrypted(stack: Stack) -> list[str]:
    found = []
    wanted: dict[str, dict[str, Any]] = {
        "AWS::Logs::LogGroup": {"KmsKeyId": "Key.Arn"},
        "AWS::SNS::Topic": {"KmsMasterKeyId": "Key"},
        "AWS::SQS::Queue": {"SqsManagedSseEnabled": True},
        "AWS::ElastiCache::ServerlessCache": {"KmsKeyId": "Key.Arn"},
        "AWS::ElastiCache::ReplicationGroup": {
            "KmsKeyId": "Key.Arn",
            "AtRestEncryptionEnabled": True,
            "TransitEncryptionEnabled": True,
        },
        "AWS::KMS::Key": {"EnableKeyRotation": True},
    }
    for kind, properties in wanted.items():
        for name, resource in stack.of(kind).items():
            found += [f"{name}: {key}" for key, value in properties.items() if resource.get(key) != value]
    return found


def the_store_is_spoken_to_in_tls_and_by_nobody_unknown(stack: Stack) -> list[str]:
    found = []
    for name, function in in_the_network(stack).items():
        variables = function["Environment"]["Variables"]
        iam = variables["REDIS_URL"].startswith("rediss://") and all(
            variables[each] for each in ("REDIS_IAM_USER", "REDIS_IAM_CACHE")
        )
        secret = variables["REDIS_URL"] == variables["REDIS_IAM_USER"] == "" and variables["REDIS_SECRET_ARN"]
        serverless = str(stack.values.parameters["Store"] == "serverless").lower()
        if not (iam or secret) or variables["REDIS_IAM_SERVERLESS"] != serverless:
            found.append(f"{name}: {variables}")
    for name, user in stack.of("AWS::ElastiCache::User").items():
        if user["UserName"] == "default":
            good = user["AccessString"].startswith("off ")
        else:
            good = user["AuthenticationMode"] == {"Type": "iam"} and user["UserId"] == user["UserName"]
        found += [] if good else [f"{name}: {user}"]
    for name, group in stack.of("AWS::ElastiCache::UserGroup").items():
        found += [] if ("NobodyElse" in group["UserIds"]) == (group["Engine"] == "redis") else [f"{name}: {group}"]
    caches = stack.of("AWS::ElastiCache::ServerlessCache") | stack.of("AWS::ElastiCache::ReplicationGroup")
    for name, cache in caches.items():
        groups = cache.get("UserGroupIds") or [cache.get("UserGroupId")]
        found += [] if groups == ["StoreUserGroup"] else [f"{name}: {groups}"]
    return found


def the_store_keeps_what_it_acknowledged(stack: Stack) -> list[str]:
    found = []
    for name, group in stack.of("AWS::ElastiCache::ReplicationGroup").items():
        parameters = stack.of("AWS::ElastiCache::ParameterGroup")[group["CacheParameterGroupName"]]["Properties"]
        wanted = {
            "Durability": "sync",
            "Engine": "valkey",
            "EngineVersion": "9.0",
            "MultiAZEnabled": True,
            "AutomaticFailoverEnabled": True,
            "ReplicasPerNodeGroup": 1,
        }
        found += [f"{name}: {key}" for key, value in wanted.items() if group.get(key) != value]
        found += [] if parameters == {"cluster-enabled": "yes", "maxmemory-policy": "noeviction"} else [str(parameters)]
        found += (
            [] if stack.resources[name].get("DeletionPolicy") == "Snapshot" else [f"{name} goes without a snapshot"]
        )
    caches = stack.of("AWS::ElastiCache::ServerlessCache")
    found += [f"{name} goes without a snapshot" for name, cache in caches.items() if "FinalSnapshotName" not in cache]
    for name, cache in (caches | stack.of("AWS::ElastiCache::ReplicationGroup")).items():
        found += [] if cache.get("SnapshotRetentionLimit", 0) >= 1 else [f"{name} makes no snapshots"]
    return found


def every_target_has_a_dead_letter_queue_that_takes_from_it(stack: Stack) -> list[str]:
    found = []
    taken = {
        arn
        for policy in stack.of("AWS::SQS::QueuePolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
        for arn in listed(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
    }
    for name, rule in stack.of("AWS::Events::Rule").items():
        found += [
            f"{name} has none"
            for each in rule["Targets"]
            if each.get("DeadLetterConfig") != {"Arn": "DeadLetterQueue.Arn"}
        ]
        found += [] if f"{name}.Arn" in taken else [f"{name} may not write to it"]
    for name, schedule in stack.of("AWS::Scheduler::Schedule").items():
        target = schedule["Target"]
        found += [] if target.get("DeadLetterConfig") == {"Arn": "DeadLetterQueue.Arn"} else [f"{name} has none"]
        role = target["RoleArn"].removesuffix(".Arn")
        found += [] if may(stack, role, "sqs:SendMessage", "DeadLetterQueue.Arn") else [f"{name} may not write to it"]
    return found


def every_log_is_kept_for_a_time_that_is_said(stack: Stack) -> list[str]:
    groups = stack.of("AWS::Logs::LogGroup")
    found = [name for name, group in groups.items() if group.get("RetentionInDays") != "365"]
    for name, function in stack.of("AWS::Lambda::Function").items():
        found += (
            [] if function.get("LoggingConfig", {}).get("LogGroup") in groups else [f"{name} makes a log of its own"]
        )
    for name, stage in stack.of("AWS::ApiGatewayV2::Stage").items():
        destination = stage.get("AccessLogSettings", {}).get("DestinationArn", "")
        found += [] if destination.removesuffix(".Arn") in groups else [f"{name} logs nowhere"]
    return found


def the_network_lets_the_functions_reach_the_store_and_nothing_else(stack: Stack) -> list[str]:
    found = []
    rules = {
        f"{name} {way}": rule
        for name, group in stack.of("AWS::EC2::SecurityGroup").items()
        for way in ("SecurityGroupIngress", "SecurityGroupEgress")
        for rule in group.get(way, [])
    }
    for kind in ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress"):
        rules |= stack.of(kind)
    found += [name for name, rule in rules.items() if ANYWHERE & {rule.get("CidrIp"), rule.get("CidrIpv6")}]
    for name, group in stack.of("AWS::EC2::SecurityGroup").items():
        if not group.get("SecurityGroupEgress"):
            found.append(f"{name} lets everything out")  # what EC2 makes of no rule
    for name, rule in stack.of("AWS::EC2::SecurityGroupIngress").items():
        found += [] if rule.get("SourceSecurityGroupId") == "FunctionSecurityGroup" else [f"{name}: {rule}"]
    external = stack.values.parameters["Store"] == "external"
    store, endpoints, *others = stack.of("AWS::EC2::SecurityGroup")["FunctionSecurityGroup"]["SecurityGroupEgress"]
    if external != (store.get("CidrIp") == "10.1.2.0/24") or external == (
        store.get("DestinationSecurityGroupId") == "StoreSecurityGroup"
    ):
        found.append(f"the way to the store: {store}")
    if (endpoints["FromPort"], endpoints["ToPort"]) != (443, 443) or "CidrIp" in endpoints:
        found.append(f"the way to the endpoints: {endpoints}")
    archive = stack.values.parameters["ArchivePrefixListId"]
    if [(rule["FromPort"], rule["ToPort"], rule.get("DestinationPrefixListId")) for rule in others] != (
        [(443, 443, archive)] if archive else []
    ):
        found.append(f"the way to the archive: {others}")
    ways_out = ("NatGateway", "InternetGateway", "EgressOnlyInternetGateway", "EIP", "Route")
    found += [kind for kind in ways_out if stack.of(f"AWS::EC2::{kind}")]
    for name, function in stack.of("AWS::Lambda::Function").items():
        network = function.get("VpcConfig", {})
        if name in OUTSIDE:
            found += [f"{name} is in the network"] if network else []
            continue
        if network.get("SecurityGroupIds") != ["FunctionSecurityGroup"] or len(set(network.get("SubnetIds", []))) < 2:
            found.append(f"{name} is not in the network")
    zones = {subnet["AvailabilityZone"] for subnet in stack.of("AWS::EC2::Subnet").values()}
    return found + ([] if len(zones) in (0, 2) else [f"zones: {zones}"])


def there_are_the_endpoints_that_are_needed_and_no_others(stack: Stack) -> list[str]:
    wanted = {"com.amazonaws.eu-central-1.events"}
    if stack.values.parameters["Store"] == "external":
        wanted.add("com.amazonaws.eu-central-1.secretsmanager")
    if stack.values.parameters["EndpointSecurityGroupId"]:
        wanted = set()
    archived = stack.values.parameters["ArchiveBucket"] and not stack.values.parameters["VpcId"]
    if archived:
        wanted.add("com.amazonaws.eu-central-1.s3")
    endpoints = stack.of("AWS::EC2::VPCEndpoint")
    found = [str(each) for each in wanted ^ {endpoint["ServiceName"] for endpoint in endpoints.values()}]
    for name, endpoint in endpoints.items():
        for statement in endpoint["PolicyDocument"]["Statement"]:
            if "*" in statement["Resource"].replace(ARCHIVED, "") or "Condition" not in statement:
                found.append(f"{name} lets through {statement}")
            if statement["Resource"] == ARCHIVED and statement["Action"] != "s3:PutObject":
                found.append(f"{name} lets through {statement}")
    gateways = [each for each in endpoints.values() if each["VpcEndpointType"] == "Gateway"]
    routed = {
        each["SubnetId"]
        for each in stack.of("AWS::EC2::SubnetRouteTableAssociation").values()
        if any(each["RouteTableId"] in gateway["RouteTableIds"] for gateway in gateways)
    }
    found += [f"{subnet} has no route to the archive" for subnet in {"SubnetA", "SubnetB"} - routed if archived]
    return found


def endpoints_in_a_vpc_of_others_change_nothing_there(stack: Stack) -> list[str]:
    parameters, endpoints = stack.values.parameters, stack.of("AWS::EC2::VPCEndpoint")
    own = not parameters["VpcId"]
    found = [
        f"{name}: private DNS" for name, each in endpoints.items() if each.get("PrivateDnsEnabled", own) is not own
    ]
    for name, function in in_the_network(stack).items():
        for variable, endpoint, service in (
            ("AWS_ENDPOINT_URL_EVENTBRIDGE", "EventsEndpoint", "events"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "SecretsEndpoint", "secretsmanager"),
        ):
            by_name = endpoint in endpoints and not own
            wanted = f"{endpoint}.DnsEntries" if by_name else f"{service}.eu-central-1.amazonaws.com"
            url = function["Environment"]["Variables"].get(variable)
            found += [] if url == f"https://{wanted}" else [f"{name}: {variable} is {url}"]
    return found


def every_alarm_reaches_those_whom_it_concerns(stack: Stack) -> list[str]:
    alarms, composite = stack.of("AWS::CloudWatch::Alarm"), stack.of("AWS::CloudWatch::CompositeAlarm")
    found = [name for name, alarm in alarms.items() if alarm.get("AlarmActions") != ["AlertTopic"]]
    found += [name for name, alarm in composite.items() if alarm.get("AlarmActions") != ["PagerTopic"]]
    store = {
        "serverless": {"CacheMemory", "Eviction", "StoreThrottled", "SignIn", "Connections"},
        "durable": {"NodeMemory", "NodeThrottled", "SignIn", "Connections"},
        "external": set(),
    }
    wanted = {"ServerError", "Latency", "OutboxAge", "DeadEvents", "DeadLetterQueue", "Errors", "Throttled"}
    wanted |= {"OverdueAge", "Concurrency", "Service"} | store[stack.values.parameters["Store"]]
    wanted |= {"Canary"} if stack.values.parameters["CanarySchedule"] else set()
    found += wanted ^ {name.removesuffix("Alarm") for name in alarms | composite}
    # with a condition EventBridge publishes nothing
    topics = {
        "AlertTopic": {"cloudwatch.amazonaws.com": True},
        "PagerTopic": {"cloudwatch.amazonaws.com": True},
        "FailedTopic": {"events.amazonaws.com": False},
    }
    publishers: dict[str, dict[str, bool]] = {}
    for policy in stack.of("AWS::SNS::TopicPolicy").values():
        (topic,) = policy["Topics"]
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Action"] == "sns:Publish" and statement["Resource"] == topic:
                publishers.setdefault(topic, {})[statement["Principal"]["Service"]] = "Condition" in statement
    found += [] if publishers == topics else [str(publishers)]
    targets = {each["Arn"] for each in stack.of("AWS::Events::Rule")["FailedRule"]["Targets"]}
    found += [] if targets == {"FailedTopic"} else [f"failed missions go to {targets}"]
    users = {
        str(service)
        for statement in stack.of("AWS::KMS::Key")["Key"]["KeyPolicy"]["Statement"]
        for service in listed(statement["Principal"].get("Service", []))
        if {"kms:Decrypt", "kms:GenerateDataKey*"} <= set(listed(statement["Action"]))
    }
    return found + [f"{service} has no key" for each in topics.values() for service in each.keys() - users]


def an_alarm_goes_off_in_the_minutes_that_it_says_and_not_before_there_is_anything(stack: Stack) -> list[str]:
    alarms = stack.of("AWS::CloudWatch::Alarm")
    found = [f"{name} counts no data as a fault" for name, each in alarms.items() if _breaching(each)]
    for name in ("OutboxAgeAlarm", "OverdueAgeAlarm"):
        age = alarms[name]
        # One figure above five minutes is enough. A function that stops is told by the change to a state without data
        good = (age["Period"], age["DatapointsToAlarm"], age["Threshold"]) == (60, 1, 300_000)
        good &= age.get("InsufficientDataActions") == ["AlertTopic"] and age["TreatMissingData"] == "missing"
        found += [] if good else [f"{name}: {age}"]
    for name, alarm in alarms.items():
        if name == "CacheMemoryAlarm":
            formulas = {each["Id"]: each["Expression"] for each in alarm["Metrics"] if "Expression" in each}
            limit = stack.values.parameters["MaximumGigabytes"]
            smaller = {
                "percent": "MAX([ofmaximum, ofnamespace])",
                "ofmaximum": f"100 * used / ({limit} * 1000000000)",
                "ofnamespace": "100 * used / (32 * 1073741824)",
            }
            found += [] if formulas == smaller else [f"{name}: {formulas}"]
    return found


def _breaching(alarm: Json) -> bool:
    return alarm.get("TreatMissingData") not in ("notBreaching", "missing")


# What each alarm of docs/aws.md looks at: "threshold, how many of how many periods, and what no data counts as"
LOOKS_AT = {
    "ServerError": "Sum of AWS/ApiGateway 5xx in 300 s >= 5, 1 of 1, notBreaching",
    "Latency": "p99 of AWS/ApiGateway Latency in 300 s > 3000, 3 of 3, notBreaching",
    "OutboxAge": "Maximum of Missions OutboxAge in 60 s > 300000, 1 of 5, missing",
    "OverdueAge": "Maximum of Missions OverdueAge in 60 s > 300000, 1 of 5, missing",
    "DeadEvents": "Maximum of Missions DeadLetters in 300 s > 0, 1 of 1, notBreaching",
    "DeadLetterQueue": "Maximum of AWS/SQS ApproximateNumberOfMessagesVisible in 300 s > 0, 1 of 1, notBreaching",
    "Errors": "Sum of Missions/missions Errors in 60 s >= 5, 1 of 5, notBreaching",
    "Throttled": "Sum of Missions/missions Throttled in 300 s >= 100, 2 of 2, notBreaching",
    "Concurrency": "Sum of AWS/Lambda Throttles in 300 s > 0, 1 of 1, notBreaching",
    "CacheMemory": "Maximum of AWS/ElastiCache BytesUsedForCache in 300 s > 80, 1 of 1, missing",
    "StoreThrottled": "Sum of AWS/ElastiCache ThrottledCmds in 300 s > 0, 1 of 1, notBreaching",
    "SignIn": "Sum of AWS/ElastiCache IamAuthenticationThrottling in 300 s > 0, 1 of 1, notBreaching",
    "Connections": "Maximum of AWS/ElastiCache CurrConnections in 300 s > 43000, 1 of 1, notBreaching",
    "Eviction": "Sum of AWS/ElastiCache Evictions in 300 s > 0, 1 of 1, notBreaching",
    "Canary": "Sum of AWS/Lambda Errors in 60 s >= 1, 2 of 30, notBreaching",
    "NodeThrottled": "Maximum of AWS/ElastiCache TrafficManagementActive in 300 s > 0, 1 of 1, notBreaching",
    "NodeMemory": "Maximum of AWS/ElastiCache DatabaseMemoryUsagePercentage in 300 s > 80, 1 of 1, missing",
}
PATTERNS = {
    "ErrorsMetric": """?"\\"level\\":\\"ERROR\\"" ?"[ERROR]" ?"Task timed out" ?"Runtime exited\"""",
    "ThrottledMetric": '{ $.status = "429" }',
}
NODES = {"ReplicationGroup-0001-001", "ReplicationGroup-0001-002"}


def each_alarm_looks_at_what_is_said(stack: Stack) -> list[str]:
    found = []
    for name, alarm in stack.of("AWS::CloudWatch::Alarm").items():
        looks_at, of = _described(alarm)
        wanted = LOOKS_AT.get(name.removesuffix("Alarm"))
        found += [] if looks_at == wanted else [f"{name} looks at {looks_at}, not at {wanted}"]
        if "AWS/ElastiCache" in looks_at:
            everything = NODES if stack.values.parameters["Store"] == "durable" else {"ServerlessCache"}
            found += [] if of == everything else [f"{name} looks at {of}"]
        if " Missions " in looks_at:
            found += [] if of == {"missions_service", "EventBus"} else [f"{name} looks at {of}"]
        found += [] if alarm.get("OKActions") == alarm["AlarmActions"] else [f"nobody is told when {name} is over"]
    rule = stack.of("AWS::CloudWatch::CompositeAlarm")["ServiceAlarm"]["AlarmRule"]
    parts = {'ALARM("ServerErrorAlarm")', 'ALARM("LatencyAlarm")', 'ALARM("OutboxAgeAlarm")'}
    parts |= {'INSUFFICIENT_DATA("OutboxAgeAlarm")', 'ALARM("OverdueAgeAlarm")', 'INSUFFICIENT_DATA("OverdueAgeAlarm")'}
    needed = stack.resources["ServiceAlarm"]["DependsOn"]
    scheduled = {"RelayEventsFunctionEveryMinute", "SweepMissionsFunctionEveryMinute"}
    found += [] if set(needed) == scheduled <= stack.resources.keys() else [f"before {needed} run there is an alarm"]
    found += [] if set(rule.split(" OR ")) == parts else [rule]
    patterns = {name: each["FilterPattern"] for name, each in stack.of("AWS::Logs::MetricFilter").items()}
    found += [] if patterns == PATTERNS else [str(patterns)]
    canary = stack.of("AWS::Lambda::Function").get(CANARY)
    # 19 steps of which each may wait for 15 seconds; two bad minutes in a row are an alarm, so a run is repeated once
    found += ["the canary has no time"] if canary and canary["Timeout"] < 19 * 15 else []
    for name, config in stack.of("AWS::Lambda::EventInvokeConfig").items():
        wanted_retries = 1 if name.startswith(CANARY) else 0
        found += [] if config["MaximumRetryAttempts"] == wanted_retries else [f"{name} is repeated"]
    return found


def _described(alarm: Json) -> tuple[str, set[str]]:
    """What an alarm looks at, in a line, and of what."""
    alone = {
        "Metric": {name: alarm.get(name, []) for name in ("Namespace", "MetricName", "Dimensions")},
        "Stat": alarm.get("Statistic") or alarm.get("ExtendedStatistic"),
        "Period": alarm.get("Period"),
    }
    read = [each["MetricStat"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alone]
    metrics = sorted({f"{each['Metric']['Namespace']} {each['Metric']['MetricName']}" for each in read})
    how = sorted({f"{each['Stat']} of {', '.join(metrics)} in {each['Period']} s" for each in read})
    sign = {"GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": ">="}[alarm["ComparisonOperator"]]
    periods = alarm["EvaluationPeriods"]
    limit = f"{sign} {alarm['Threshold']}, {alarm.get('DatapointsToAlarm', periods)} of {periods}"
    of = {dimension["Value"] for each in read for dimension in each["Metric"]["Dimensions"]}
    return f"{', '.join(how)} {limit}, {alarm['TreatMissingData']}", of


def a_new_version_takes_over_as_is_said_and_goes_back_on_errors(stack: Stack) -> list[str]:
    deployment = stack.values.parameters["Deployment"]
    groups = stack.of("AWS::CodeDeploy::DeploymentGroup")
    found = [
        f"{name} does not"
        for name in stack.of("AWS::Lambda::Function")
        if name not in OUTSIDE
        and groups.get(f"{name}DeploymentGroup", {}).get("DeploymentConfigName")
        != f"CodeDeployDefault.Lambda{deployment}"
    ]
    watched = [] if deployment == "AllAtOnce" else ["ErrorsAlarm"]
    for name, group in groups.items():
        alarms = [each["Name"] for each in group["AlarmConfiguration"].get("Alarms", [])]
        found += [] if alarms == watched else [f"{name} is stopped by {alarms}"]
    # An alarm that looked at the API would depend on the aliases, and these on the deployment that it stops
    metric, alarm = (json.dumps(stack.written["Resources"][name]) for name in ("ErrorsMetric", "ErrorsAlarm"))
    found += ["the alarm looks at the API"] if "Api" in metric + alarm else []
    return found + (
        [] if stack.of("AWS::Logs::MetricFilter")["ErrorsMetric"]["LogGroupName"] == "FunctionLogs" else ["?"]
    )


def traces_are_made_when_asked_for(stack: Stack) -> list[str]:
    asked = stack.values.parameters["Tracing"]
    wanted = None if asked == "Disabled" else {"Mode": asked}
    functions = stack.of("AWS::Lambda::Function")
    return [name for name, function in functions.items() if function.get("TracingConfig") != wanted]


# The names that this template gives, and how long each may be (the pages of CloudFormation and of each service)
NAMES = {
    "AWS::ElastiCache::ServerlessCache": ("ServerlessCacheName", 40),
    "AWS::ElastiCache::ReplicationGroup": ("ReplicationGroupId", 40),
    "AWS::ElastiCache::User": ("UserId", 40),
    "AWS::ElastiCache::UserGroup": ("UserGroupId", 40),
    "AWS::Scheduler::Schedule": ("Name", 64),
    "AWS::Events::EventBus": ("Name", 256),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::Logs::ResourcePolicy": ("PolicyName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
}
OF_THIS_STACK = "1234567db123"  # the end of the stack's id


def names_fit_and_are_of_this_stack_alone(stack: Stack) -> list[str]:
    found = []
    for kind, (member, longest) in NAMES.items():
        for name, resource in stack.of(kind).items():
            given = resource[member]
            # a stack's name may have 128 characters
            length = len(given) + (128 - len("missions") if given.startswith("missions") and kind in LONG else 0)
            length += 128 if "/missions-" in given else 0
            found += [f"{name} is too long: {given}"] if length > longest else []
            again = kind not in UNIQUE_BY_STACK_NAME and OF_THIS_STACK not in given
            found += [f"{name} is in the way of the next stack: {given}"] if again else []
    return found


LONG = {"AWS::Events::EventBus", "AWS::Logs::ResourcePolicy", "AWS::CloudWatch::Dashboard"}  # begin with its name
UNIQUE_BY_STACK_NAME = LONG  # deleted with the stack, and made by nobody else


def what_a_failed_creation_leaves_is_nothing(stack: Stack) -> list[str]:
    return [
        f"{name}: {resource['DeletionPolicy']}"
        for name, resource in stack.resources.items()
        if resource.get("DeletionPolicy", "Delete") not in ("Delete", "RetainExceptOnCreate", "Snapshot")
    ]


def events_are_archived_and_audited(stack: Stack) -> list[str]:
    everything = {"source": ["missions_service"]}
    archives = [each for each in stack.of("AWS::Events::Archive").values() if each["SourceArn"] == "EventBus.Arn"]
    audits = [
        rule
        for rule in stack.of("AWS::Events::Rule").values()
        if rule["EventPattern"] == everything
        and [each["Arn"] for each in rule["Targets"]] == [f"{LOG_GROUPS}:AuditLogs"]
    ]
    log = stack.of("AWS::Logs::LogGroup")["AuditLogs"]["LogGroupName"]
    document = json.loads(stack.of("AWS::Logs::ResourcePolicy")["AuditLogsPolicy"]["PolicyDocument"])
    allowed = {each["Action"] for each in document["Statement"] if each["Resource"] == "AuditLogs.Arn"}
    good = (
        [each["EventPattern"] for each in archives] == [everything]
        and len(audits) == 1
        and log.startswith("/aws/events/")
        and allowed == {"logs:CreateLogStream", "logs:PutLogEvents"}
    )
    return [] if good else [f"{archives} {audits} {log} {allowed}"]


def a_change_makes_a_new_version_that_may_start_from_a_snapshot(stack: Stack) -> list[str]:
    functions = {
        name: resource["Properties"]
        for name, resource in stack.written["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    found = [name for name, each in functions.items() if each.get("AutoPublishAliasAllProperties") is not True]
    layer = stack.written["Resources"]["MissionsLayer"]["Properties"]
    found += [] if layer.get("PublishLambdaVersion") is True else ["the layer"]
    for name, function in stack.of("AWS::Lambda::Function").items():
        wanted = "None" if name in OUTSIDE else stack.values.parameters["SnapStart"]
        found += [] if function.get("SnapStart") == {"ApplyOn": wanted} else [name]
        found += [] if f"{name}Aliaslive" in stack.resources else [f"{name} has no alias"]
    return found


def the_canary_calls_every_function_of_the_api_and_may_call_no_other(stack: Stack) -> list[str]:
    if CANARY not in stack.resources:
        return []
    variables = stack.of("AWS::Lambda::Function")[CANARY]["Environment"]["Variables"]
    told = json.loads(variables["FUNCTIONS"])
    wanted = {
        Path(resource["Properties"]["CodeUri"]).name: f"{name}Aliaslive"
        for name, resource in stack.written["Resources"].items()
        if any(each["Type"] == "HttpApi" for each in resource.get("Properties", {}).get("Events", {}).values())
    }
    found = [] if told == wanted else [f"it is told of {told}"]
    found += [] if variables["API_URL"].startswith("https://Api.execute-api.") else [variables["API_URL"]]
    role = role_of(stack, CANARY)
    targets = stack.of("AWS::Lambda::Alias") | stack.of("AWS::Lambda::Function")
    able = {name for name in targets if may(stack, role, "lambda:InvokeFunction", name)}
    return found + [f"it may call {name}, or not" for name in able ^ set(wanted.values())]


def the_canary_runs_and_is_listened_to_unless_it_is_switched_off(stack: Stack) -> list[str]:
    schedules = stack.of("AWS::Scheduler::Schedule").values()
    parts = {
        "the function": "CanaryFunction" in stack.resources,
        "the schedule": any(each["Target"]["Arn"] == "CanaryFunctionAliaslive" for each in schedules),
        "the alarm": "CanaryAlarm" in stack.resources,
    }
    return [part for part, there in parts.items() if there != bool(stack.values.parameters["CanarySchedule"])]


Promise = Callable[[Stack], list[str]]
Break = Callable[[dict[str, Any]], None]


def put(*path: str | int, value: Any) -> Break:
    """Break a template by setting what lies at this path of its resources."""

    def apply(resources: dict[str, Any]) -> None:
        node: Any = resources
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = value

    return apply


def drop(*path: str | int) -> Break:
    """Break a template by removing what lies at this path of its resources."""

    def apply(resources: dict[str, Any]) -> None:
        node: Any = resources
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return apply


P = "Properties"
POLICY = ("PolicyDocument", "Statement", 0)
PATHS = ("Api", P, "DefinitionBody", "paths")
PLAIN_ROUTE = {
    "Type": "HttpApi",
    P: {"ApiId": {"Ref": "Api"}, "Method": "PUT", "Path": "/api/missions/{mission_id}"},
}
CORS = ("DefinitionBody", "x-amazon-apigateway-cors", "Fn::If", 1)
CORS_ON = {"CorsOrigin": "https://app.example.com"}
ANOTHER = {"CodeUri": "functions/another", "Events": {"Request": PLAIN_ROUTE}}
DURABLE = {"Store": "durable"}
REDIS = {"Engine": "redis"}

# promise: how it may be broken, and in which deployment
BREAKS: dict[Promise, list[tuple[Break, dict[str, str]]]] = {
    only_those_who_write_may_put_events: [
        (put("GetLogFunction", P, "Policies", value=[{"Ref": "StorePolicy"}, {"Ref": "PutEventsPolicy"}]), {}),
        (put("CreateMissionFunction", P, "Policies", value=[{"Ref": "StorePolicy"}]), {}),
        (put("PutEventsPolicy", P, *POLICY, "Resource", value="*"), {}),
    ],
    the_bus_refuses_everybody_else_who_speaks_for_missions: [
        (drop("EventBusPolicy"), {}),
        (put("EventBusPolicy", P, "Statement", "Effect", value="Allow"), {}),
        (drop("EventBusPolicy", P, "Statement", "Condition", "ArnNotEquals", "aws:PrincipalArn", 3), {}),
        (drop("EventBusPolicy", P, "Statement", "Condition", "ArnNotEquals", "aws:PrincipalArn", 6), {}),
        (
            put(
                "EventBusPolicy", P, "Statement", "Condition", "StringEquals", "events:source", value="another_service"
            ),
            {},
        ),
    ],
    every_function_has_a_role_of_its_own: [
        (put("GetLogFunction", P, "Role", value={"Fn::GetAtt": ["GetStatsFunctionRole", "Arn"]}), {}),
    ],
    every_policy_names_actions_and_resources: [
        (put("StorePolicy", P, *POLICY, "Fn::If", 2, "Resource", value="*"), {}),
        (put("StorePolicy", P, *POLICY, "Fn::If", 2, "Action", value="elasticache:*"), {}),
        (put("GetLogFunction", P, "Policies", value=["arn:aws:iam::aws:policy/AdministratorAccess"]), {}),
    ],
    every_function_that_has_a_store_may_reach_it_and_no_other: [
        (put("GetLogFunction", P, "Policies", value=[]), {}),
        (drop("StorePolicy", P, *POLICY, "Fn::If", 2, "Resource", 0), {}),
        (put("StorePolicy", P, *POLICY, "Fn::If", 0, value="Durable"), EXTERNAL),
    ],
    only_the_sweeper_writes_missions_to_the_archive_and_nobody_reads_it: [
        (put("ArchivePolicy", P, *POLICY, "Action", value=["s3:PutObject", "s3:GetObject"]), ARCHIVE),
        (put("ArchivePolicy", P, *POLICY, "Resource", value={"Fn::Sub": "arn:aws:s3:::${ArchiveBucket}/*"}), ARCHIVE),
        (put("ArchivePolicy", P, *POLICY, "Resource", value="arn:aws:s3:::*/missions/*"), ARCHIVE),
        (put("SweepMissionsFunction", P, "Policies", value=[{"Ref": "StorePolicy"}]), ARCHIVE),
        (put("GetLogFunction", P, "Policies", value=[{"Ref": "StorePolicy"}, {"Ref": "ArchivePolicy"}]), ARCHIVE),
        (drop("SweepMissionsFunction", P, "Environment"), ARCHIVE),
    ],
    missions_are_kept_as_long_as_is_said: [
        (put("UpdateStatusFunction", P, "Environment", value={"Variables": {"RETENTION_DAYS": "30"}}), {}),
        (put("SweepMissionsFunction", P, "Environment", "Variables", "RETENTION_DAYS", value="0"), {}),
    ],
    every_route_but_health_and_the_console_is_behind_the_authorizer: [
        (drop(*PATHS, "/api/missions", "post"), {}),
        (put(*PATHS, "/api/missions/{mission_id}/log", "get", "security", value=[]), {}),
        (put(*PATHS, "/api/missions/health", "get", "security", value=[{"caller": []}]), {}),
        (put("GetMissionFunction", P, "Events", "Another", value=PLAIN_ROUTE), {}),
        (
            put("Api", P, "DefinitionBody", "components", "securitySchemes", "caller", "Fn::If", 0, value="Cors"),
            {"JwtIssuer": "https://issuer.example.com", "JwtAudience": "missions"},
        ),
    ],
    cors_is_off_until_an_origin_is_given: [
        (put("Api", P, "DefinitionBody", "x-amazon-apigateway-cors", value={"allowOrigins": ["*"]}), {}),
    ],
    the_api_is_throttled_and_logged: [
        (drop("Api", P, "RouteSettings"), {}),
        (drop("Api", P, "DefaultRouteSettings"), {}),
        (drop("Api", P, "AccessLogSettings"), {}),
    ],
    what_is_kept_is_encrypted: [
        (drop("AuditLogs", P, "KmsKeyId"), {}),
        (drop("AlertTopic", P, "KmsMasterKeyId"), {}),
        (put("DeadLetterQueue", P, "SqsManagedSseEnabled", value=False), {}),
        (drop("ServerlessCache", P, "KmsKeyId"), {}),
        (put("ReplicationGroup", P, "TransitEncryptionEnabled", value=False), DURABLE),
        (drop("Key", P, "EnableKeyRotation"), {}),
    ],
    the_store_is_spoken_to_in_tls_and_by_nobody_unknown: [
        (put("StoreUser", P, "AuthenticationMode", value={"Type": "no-password-required"}), {}),
        (put("StoreUser", P, "UserName", value="missions"), {}),
        (put("NobodyElse", P, "AccessString", value="on ~* +@all"), REDIS),
        (put("StoreUserGroup", P, "UserIds", value=[{"Ref": "StoreUser"}]), REDIS),
        (drop("ReplicationGroup", P, "UserGroupIds"), DURABLE),
        (put("HealthFunction", P, "Environment", value={"Variables": {"REDIS_URL": "redis://host"}}), {}),
    ],
    the_store_keeps_what_it_acknowledged: [
        (put("ReplicationGroup", P, "Durability", value="async"), DURABLE),
        (drop("ReplicationGroup", "DeletionPolicy"), DURABLE),
        (put("StoreParameters", P, P, "maxmemory-policy", value="volatile-lru"), DURABLE),
        (drop("ServerlessCache", P, "FinalSnapshotName"), {}),
        (drop("ServerlessCache", P, "SnapshotRetentionLimit"), {}),
    ],
    every_target_has_a_dead_letter_queue_that_takes_from_it: [
        (drop("AuditRule", P, "Targets", 0, "DeadLetterConfig"), {}),
        (drop("RelayEventsFunction", P, "Events", "EveryMinute", P, "DeadLetterConfig"), {}),
        (drop("SweepMissionsFunction", P, "Events", "EveryMinute", P, "DeadLetterConfig"), {}),
        (drop("DeadLetterQueuePolicy", P, *POLICY, "Condition", "ArnEquals", "aws:SourceArn", 0), {}),
    ],
    every_log_is_kept_for_a_time_that_is_said: [
        (drop("AccessLogs", P, "RetentionInDays"), {}),
        (put("GetLogFunction", P, "LoggingConfig", value={"LogGroup": "mine"}), {}),
        (drop("Api", P, "AccessLogSettings"), {}),
    ],
    the_network_lets_the_functions_reach_the_store_and_nothing_else: [
        (put("StoreIngress", P, "CidrIp", value="0.0.0.0/0"), {}),
        (drop("StoreIngress", P, "SourceSecurityGroupId"), {}),
        (drop("StoreSecurityGroup", P, "SecurityGroupEgress"), {}),
        (put("FunctionSecurityGroup", P, "SecurityGroupEgress", 1, "CidrIp", value="0.0.0.0/0"), {}),
        (put("Gateway", value={"Type": "AWS::EC2::InternetGateway"}), {}),
        (drop("FunctionSecurityGroup", P, "SecurityGroupEgress", 2), ARCHIVE),
        (put("FunctionSecurityGroup", P, "SecurityGroupEgress", 2, "Fn::If", 0, value="Serverless"), {}),
        (put("FunctionSecurityGroup", P, "SecurityGroupEgress", 2, "Fn::If", 1, "CidrIp", value="0.0.0.0/0"), ARCHIVE),
        (put("SubnetB", P, "AvailabilityZone", value={"Fn::Select": [0, {"Fn::GetAZs": ""}]}), {}),
        (put("GetLogFunction", P, "VpcConfig", value={"SubnetIds": ["a"], "SecurityGroupIds": ["b"]}), {}),
        (drop("CanaryFunction", "IgnoreGlobals"), {}),
        (drop("GetConsoleFunction", "IgnoreGlobals", 0), {}),
    ],
    there_are_the_endpoints_that_are_needed_and_no_others: [
        (drop("EventsEndpoint"), {}),
        (put("SecretsEndpoint", "Condition", value="OwnEndpoints"), {}),
        (put("EventsEndpoint", P, *POLICY, "Resource", value="*"), {}),
        (drop("ArchiveEndpoint", "Condition"), {}),
        (put("ArchiveEndpoint", "Condition", value="Archiving"), {**OWN_VPC, **ARCHIVE}),
        (put("ArchiveEndpoint", P, *POLICY, "Action", value="s3:*"), ARCHIVE),
        (put("ArchiveEndpoint", P, *POLICY, "Resource", value="*"), ARCHIVE),
        (drop("ArchiveRoutesOfB"), ARCHIVE),
    ],
    endpoints_in_a_vpc_of_others_change_nothing_there: [
        (put("EventsEndpoint", P, "PrivateDnsEnabled", value=True), OWN_VPC),
        (put("SecretsEndpoint", P, "PrivateDnsEnabled", value=True), EXTERNAL),
        (put("EventsEndpoint", P, "PrivateDnsEnabled", value=False), {}),
        (put("HealthFunction", P, "Environment", value={"Variables": {"AWS_ENDPOINT_URL_EVENTBRIDGE": ""}}), {}),
    ],
    nothing_needs_a_quota_that_a_new_account_lacks: [
        (put("RelayEventsFunction", P, "ReservedConcurrentExecutions", value=1), {}),
    ],
    a_page_may_send_what_the_api_reads_and_read_what_it_answers: [
        (drop("Api", P, *CORS, "allowHeaders", 7), CORS_ON),
        (put("Api", P, *CORS, "exposeHeaders", value=["etag"]), CORS_ON),
        (put("Api", P, *CORS, "allowMethods", value=["GET", "POST"]), CORS_ON),
    ],
    every_alarm_reaches_those_whom_it_concerns: [
        (drop("LatencyAlarm"), {}),
        (drop("EvictionAlarm", P, "AlarmActions"), {}),
        (put("ServiceAlarm", P, "AlarmActions", value=["AlertTopic"]), {}),
        (put("FailedTopicPolicy", P, *POLICY, "Condition", value={"ArnEquals": {"aws:SourceArn": "Rule.Arn"}}), {}),
        (put("FailedRule", P, "Targets", 0, "Arn", value={"Ref": "AlertTopic"}), {}),
        (drop("Key", P, "KeyPolicy", "Statement", 2), {}),
    ],
    an_alarm_goes_off_in_the_minutes_that_it_says_and_not_before_there_is_anything: [
        (put("OutboxAgeAlarm", P, "TreatMissingData", value="breaching"), {}),
        (put("OutboxAgeAlarm", P, "DatapointsToAlarm", value=5), {}),
        (drop("OutboxAgeAlarm", P, "InsufficientDataActions"), {}),
        (put("OverdueAgeAlarm", P, "TreatMissingData", value="notBreaching"), {}),
        (put("CacheMemoryAlarm", P, "Metrics", 0, "Expression", value="100 * used / 10000000000"), {}),
    ],
    each_alarm_looks_at_what_is_said: [
        (put("LatencyAlarm", P, "Threshold", value=300_000), {}),
        (put("DeadEventsAlarm", P, "MetricName", value="DeadLetter"), {}),
        (drop("DeadEventsAlarm", P, "OKActions"), {}),
        (put("ServiceAlarm", P, "AlarmRule", value='ALARM("ServerErrorAlarm")'), {}),
        (put("ServiceAlarm", "DependsOn", value=["RelayEventsFunctionEveryMinute"]), {}),
        (drop("OverdueAgeAlarm", P, "Dimensions", 1), {}),
        (put("ErrorsMetric", P, "FilterPattern", value="ERROR"), {}),
        (put("SignInAlarm", P, "Metrics", 2, "MetricStat", "Metric", "Dimensions", value=[]), DURABLE),
        (put("CanaryFunction", P, "Timeout", value=270), {}),
        (put("CanaryFunction", P, "EventInvokeConfig", "MaximumRetryAttempts", value=2), {}),
    ],
    a_new_version_takes_over_as_is_said_and_goes_back_on_errors: [
        (put("GetLogFunction", P, "DeploymentPreference", value={"Enabled": False}), {}),
        (put("ErrorsMetric", P, "LogGroupName", value={"Ref": "AccessLogs"}), {}),
        (put("ErrorsAlarm", P, "Dimensions", value=[{"Name": "ApiId", "Value": {"Ref": "Api"}}]), {}),
        (
            put("GetLogFunction", P, "DeploymentPreference", value={"Type": "AllAtOnce"}),
            {"Deployment": "Canary10Percent5Minutes"},
        ),
    ],
    traces_are_made_when_asked_for: [
        (put("GetLogFunction", P, "Tracing", value="Disabled"), {"Tracing": "Active"}),
    ],
    names_fit_and_are_of_this_stack_alone: [
        (put("FunctionLogs", P, "LogGroupName", value={"Fn::Sub": "/aws/lambda/${AWS::StackName}"}), {}),
        (put("RelayEventsFunction", P, "Events", "EveryMinute", P, "Name", value={"Ref": "AWS::StackName"}), {}),
        (put("StoreUser", P, "UserId", value="missions-1234567db123-and-a-name-that-is-too-long"), {}),
    ],
    what_a_failed_creation_leaves_is_nothing: [
        (put("Key", "DeletionPolicy", value="Retain"), {}),
    ],
    events_are_archived_and_audited: [
        (drop("Archive"), {}),
        (put("AuditRule", P, "EventPattern", "detail-type", value=["mission.created"]), {}),
        (put("AuditLogs", P, "LogGroupName", value="audit"), {}),
        (put("AuditRule", P, "Targets", 0, "Arn", value={"Fn::GetAtt": ["AuditLogs", "Arn"]}), {}),
    ],
    a_change_makes_a_new_version_that_may_start_from_a_snapshot: [
        (drop("GetLogFunction", P, "AutoPublishAliasAllProperties"), {}),
        (drop("MissionsLayer", P, "PublishLambdaVersion"), {}),
    ],
    the_canary_calls_every_function_of_the_api_and_may_call_no_other: [
        (put("CanaryFunction", P, "Environment", "Variables", "FUNCTIONS", value="{}"), {}),
        (drop("CanaryFunction", P, "Policies", 0, "Statement", 0, "Resource", 3), {}),
        (put("CanaryFunction", P, "Policies", 0, "Statement", 0, "Resource", value="*"), {}),
        (put("Another", value={"Type": "AWS::Serverless::Function", P: ANOTHER}), {}),
    ],
    the_canary_runs_and_is_listened_to_unless_it_is_switched_off: [
        (drop("CanaryAlarm", "Condition"), {"CanarySchedule": ""}),
        (drop("CanaryFunction", P, "Events"), {}),
    ],
}


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def stack(request: pytest.FixtureRequest) -> Stack:
    return Stack(**DEPLOYMENTS[request.param])


@pytest.mark.parametrize("promise", BREAKS, ids=lambda promise: promise.__name__)
def test_the_stack_keeps_its_promise(stack: Stack, promise: Promise) -> None:
    assert promise(stack) == []


@pytest.mark.parametrize(
    ("promise", "number"),
    [(promise, number) for promise, ways in BREAKS.items() for number in range(len(ways))],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_broken_promise_is_noticed(promise: Promise, number: int) -> None:
    break_it, given = BREAKS[promise][number]
    template = source()
    break_it(template["Resources"])
    assert promise(Stack(template, **given)) != []


def test_every_suppression_of_a_check_says_why() -> None:
    for file in ("template.yaml", "events/workflow.yaml"):
        template = source(file)
        for holder in (template, *template["Resources"].values()):
            for skip in holder.get("Metadata", {}).get("checkov", {}).get("skip", []):
                assert len(skip["comment"]) > 20, skip


RESOURCES = Path(cfnlint.__file__).parent / "data/schemas/resources"
OTHER_VALUES = {  # of each parameter that may change later, with what has to change along
    "SubnetIds": (
        {"VpcId": "vpc-0f", "SubnetIds": "subnet-0a,subnet-0b"},
        {"VpcId": "vpc-0f", "SubnetIds": "subnet-1,subnet-2"},
    ),
    "RestoreSnapshotArn": ({}, {"RestoreSnapshotArn": "arn:aws:elasticache:eu-central-1:1:serverlesscachesnapshot:s"}),
    "RestoreSnapshotName": (DURABLE, DURABLE | {"RestoreSnapshotName": "s"}),
    "Engine": ({}, REDIS),
    "MaximumGigabytes": ({}, {"MaximumGigabytes": "20"}),
    "NodeType": (DURABLE, DURABLE | {"NodeType": "cache.r7g.large"}),
    "RetentionDays": ({}, {"RetentionDays": "30"}),
    "MissionRetentionDays": ({}, {"MissionRetentionDays": "0"}),
    "ArchiveBucket": ({}, ARCHIVE),
    "CanarySchedule": ({}, {"CanarySchedule": "rate(1 hour)"}),
    "Deployment": ({}, {"Deployment": "Canary10Percent5Minutes"}),
    "JwtIssuer": ({}, {"JwtIssuer": "https://issuer.example.com", "JwtAudience": "missions"}),
}


@remembered
def replacing(kind: str) -> set[str]:
    """The members whose change makes CloudFormation replace a resource of this kind, as its published schema says."""
    for file in RESOURCES.glob("*.json"):
        schema = json.loads(file.read_text())
        if schema.get("typeName") == kind:
            return {
                path.removeprefix("/properties/").partition("/")[0] for path in schema.get("createOnlyProperties", [])
            }
    raise LookupError(kind)


def stuck(before: Stack, after: Stack) -> set[str]:
    """What would be replaced and keeps its name: CloudFormation makes the new one first, and its name is taken."""
    found = set()
    for kind, (member, _) in NAMES.items():
        for name, new in after.of(kind).items():
            old = before.of(kind).get(name)
            if old and old[member] == new[member] and any(old.get(each) != new.get(each) for each in replacing(kind)):
                found.add(name)
    return found


@pytest.mark.parametrize("changed", OTHER_VALUES)
def test_a_change_replaces_nothing_that_keeps_its_name(changed: str) -> None:
    before, after = OTHER_VALUES[changed]
    found = stuck(Stack(**before), Stack(**after))
    if changed in ("SubnetIds", "RestoreSnapshotArn", "RestoreSnapshotName"):  # their description asks for another one
        assert found  # else StoreGeneration would not be needed
        assert "StoreGeneration" in source()["Parameters"][changed]["Description"]
        found = stuck(Stack(**before), Stack(**after, StoreGeneration="2"))
    assert found == set()


def test_a_store_starts_from_the_snapshot_that_is_given() -> None:
    arn = "arn:aws:elasticache:eu-central-1:123456789012:serverlesscachesnapshot:missions-final"
    serverless = Stack(RestoreSnapshotArn=arn).of("AWS::ElastiCache::ServerlessCache")["ServerlessCache"]
    assert serverless["SnapshotArnsToRestore"] == [arn]
    durable = Stack(**DURABLE, RestoreSnapshotName="last-week").of("AWS::ElastiCache::ReplicationGroup")
    assert durable["ReplicationGroup"]["SnapshotName"] == "last-week"
    assert "SnapshotArnsToRestore" not in Stack().of("AWS::ElastiCache::ServerlessCache")["ServerlessCache"]
    assert "SnapshotName" not in Stack(**DURABLE).of("AWS::ElastiCache::ReplicationGroup")["ReplicationGroup"]


def test_a_serverless_store_costs_no_more_than_is_said_and_keeps_its_engine() -> None:
    cache = Stack(MaximumEcpu="5000").of("AWS::ElastiCache::ServerlessCache")["ServerlessCache"]
    assert cache["CacheUsageLimits"] == {
        "DataStorage": {"Maximum": "10", "Unit": "GB"},
        "ECPUPerSecond": {"Maximum": "5000"},
    }
    assert cache["MajorEngineVersion"] == "8"
    assert Stack(**REDIS).of("AWS::ElastiCache::ServerlessCache")["ServerlessCache"]["MajorEngineVersion"] == "7"


def test_a_new_vpc_is_in_the_zones_that_are_chosen() -> None:
    subnets = Stack(Zones="eu-central-1b,eu-central-1c").of("AWS::EC2::Subnet")
    assert [subnet["AvailabilityZone"] for subnet in subnets.values()] == ["eu-central-1b", "eu-central-1c"]


LARGEST = 4096  # bytes of a function's environment, counted as JSON


def test_an_environment_fits_with_the_largest_certificate_and_a_long_name() -> None:
    archive = ARCHIVE | {"ArchiveBucket": "b" * 63}
    stack = Stack(**EXTERNAL, **archive, RedisCa="A" * 3000, NamespaceClaim="custom:" + "t" * 60)
    for name, function in stack.of("AWS::Lambda::Function").items():
        # the host and the names of resources are about as long as this in AWS
        variables = {
            key: value if value.isdecimal() else value.ljust(60)
            for key, value in function["Environment"]["Variables"].items()
        }
        assert len(json.dumps(variables)) < LARGEST, name


def versions(text: str) -> set[str]:
    return {name for name, each in transformed(yaml_parse(text), {})["Resources"].items() if "Version" in each["Type"]}


def test_every_template_and_every_parameter_makes_new_versions_and_the_same_ones_do_not() -> None:
    text = (ROOT / "template.yaml").read_text()
    known = {name: str(each.get("Default", "")) for name, each in source()["Parameters"].items()}
    words = {released(text, known | {name: "another"}) for name in known}
    words |= {released(text + "# another", known), released(text, known)}
    assert len(words) == len(known) + 2
    assert released(text, known) == released(text, dict(reversed(known.items())))
    before, after = versions(released(text, known)), versions(released(text, known | {"Store": "durable"}))
    assert len(before) == len(after) == 21  # with the layer's
    assert len(before & after) == 1
    assert before == versions(released(text, known))


def test_sam_alone_would_leave_the_alias_at_the_old_values() -> None:
    # Else RELEASE is not needed any more: github.com/aws/serverless-application-model/issues/3820
    assert Stack().of("AWS::Lambda::Version").keys() == Stack(Store="durable").of("AWS::Lambda::Version").keys()
