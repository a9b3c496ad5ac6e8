"""What an account must have before the stack can be made in it. It is asked for, and nothing is changed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from local.parameters import Values

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
USUAL_CONCURRENCY = 1000  # of an account that is not new
VPCS = 5  # the quota of an account that never had another one
STORE_ROLE = "AWSServiceRoleForElastiCache"


class Answer(NamedTuple):
    """What one check found: ok, MISSING, note (it works, but) or unknown; and what to do."""

    kind: str
    text: str
    remedy: str = ""


class Denied(Exception):
    """The caller lacks a right; the message names it."""


class Account:
    """An account and region, as its answers show it."""

    def __init__(self, client: Callable[[str], Any], region: str, again: Callable[..., str]) -> None:
        self._client = client
        self._region = region
        self._again = again  # the command to give once something is repaired, with more parameters

    def ask(self, service: str, operation: str, **what: Any) -> Any:
        """One answer. Raises Denied."""
        try:
            return getattr(self._client(service), operation)(**what)
        except ClientError as error:
            if error.response["Error"]["Code"] in DENIED:
                raise Denied(f"this needs the right {service}:{error.operation_name}") from None
            raise

    def identity(self) -> Answer:
        """Who asks."""
        try:
            who = self._client("sts").get_caller_identity()
            return Answer("ok", f"credentials of {who['Arn']}")
        except EndpointConnectionError:
            return Answer("MISSING", f"no AWS answers in region {self._region}", "check the network and the region")
        except ClientError as error:
            expired = error.response["Error"]["Code"] in EXPIRED
            what = "the credentials have expired" if expired else f"the credentials are not taken: {error}"
        except BotoCoreError as error:
            what = f"there are no usable credentials: {error}"
        return Answer(
            "MISSING", what, f"aws sso login, or aws configure; those of a profile: AWS_PROFILE=name {self._again()}"
        )

    def stack(self, name: str) -> dict[str, Any]:
        """The stack as it is; empty if there is none. Raises Denied."""
        try:
            return dict(self.ask("cloudformation", "describe_stacks", StackName=name)["Stacks"][0])
        except ClientError as error:
            if "does not exist" in str(error):
                return {}
            raise

    def state(self, name: str, status: str) -> Answer:
        """Whether a stack with this status can be made or changed."""
        if not status or status == "REVIEW_IN_PROGRESS":  # of a change set that nobody carried out
            return Answer("ok", f"there is no stack {name} yet")
        text = f"the stack {name} is {status}"
        if status.endswith("_IN_PROGRESS"):
            look = f"cloudformation describe-stacks --stack-name {name} --query 'Stacks[0].StackStatus' --output text"
            return Answer("MISSING", text, f"wait until it is not: {self._aws(look)}")
        how = {
            "ROLLBACK_COMPLETE": "delete-stack",  # it was never made
            "ROLLBACK_FAILED": "delete-stack",
            "CREATE_FAILED": "delete-stack",
            "DELETE_FAILED": "delete-stack",
            "UPDATE_ROLLBACK_FAILED": "continue-update-rollback",
            "UPDATE_FAILED": "rollback-stack",
        }.get(status)
        if not how:
            return Answer("ok", text)
        return Answer(
            "MISSING", text, f"{self._aws(f'cloudformation {how} --stack-name {name}')}, then {self._again()}"
        )

    def answers(self, values: Values, present: dict[str, str]) -> Iterator[Answer]:
        """Everything else, for these parameters and those that the stack has at present."""
        p = values.parameters
        checks: dict[str, Callable[[], Iterator[Answer]]] = {"Lambda's concurrency": self._concurrency}
        if values.condition("OwnVpc"):
            if present.get("VpcId") != "":  # it has none of its own yet
                checks["the number of VPCs"] = self._vpcs
            checks["zones"] = lambda: self._zones(p.get("Zones", ""))
        else:
            checks["subnets"] = lambda: self._subnets(p["VpcId"], p["SubnetIds"].split(","))
            needed = ["events", "secretsmanager"] if values.condition("External") else ["events"]
            given = p["EndpointSecurityGroupId"]
            if given or present.get("EndpointSecurityGroupId") != "":  # or they are the stack's own
                checks["endpoints"] = lambda: self._endpoints(p["VpcId"], needed, given)
        if values.condition("Archiving"):
            checks["the archive"] = lambda: self._archive(p["ArchivePrefixListId"], p["VpcId"])
        if values.condition("External"):
            checks["the secret"] = lambda: self._secret(p["RedisUrlSecretArn"])
        else:
            checks["ElastiCache's role"] = self._store_role
        for about, check in checks.items():
            try:
                yield from check()
            except (Denied, ClientError) as error:
                yield Answer("unknown", f"{about}: {error}")

    def _concurrency(self) -> Iterator[Answer]:
        limit = int(self.ask("lambda", "get_account_settings")["AccountLimit"]["ConcurrentExecutions"])
        text = f"Lambda runs {limit:,} functions at once in this account"
        if limit >= USUAL_CONCURRENCY:
            yield Answer("ok", text)
        else:
            yield Answer("note", f"{text}, and refuses more", self._quota("lambda", "L-B99A9384", USUAL_CONCURRENCY))

    def _vpcs(self) -> Iterator[Answer]:
        there = len(self.ask("ec2", "describe_vpcs")["Vpcs"])
        try:
            quota = self.ask("service-quotas", "get_service_quota", ServiceCode="vpc", QuotaCode="L-F678F1CE")
            most = int(quota["Quota"]["Value"])
        except (Denied, ClientError):
            most = VPCS
        text = f"{there} of {most} VPCs are used"
        if there < most:
            yield Answer("ok", text)
        else:
            more = self._quota("vpc", "L-F678F1CE", most + 1)
            yield Answer("MISSING", text, f"{more}, or give VpcId and SubnetIds")

    def _store_role(self) -> Iterator[Answer]:
        try:
            self.ask("iam", "get_role", RoleName=STORE_ROLE)
            yield Answer("ok", f"the role {STORE_ROLE}")
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            make = "aws iam create-service-linked-role --aws-service-name elasticache.amazonaws.com"
            yield Answer("MISSING", f"the role {STORE_ROLE}", make)

    def _zones(self, chosen: str) -> Iterator[Answer]:
        kind = [{"Name": "zone-type", "Values": ["availability-zone"]}]
        zones = self.ask("ec2", "describe_availability_zones", Filters=kind)["AvailabilityZones"]
        good = {each["ZoneName"] for each in zones if each["State"] == "available"} & self._with_endpoints()
        wanted = chosen.split(",") if chosen else sorted(each["ZoneName"] for each in zones)[:2]
        bad = [zone for zone in wanted if zone not in good]
        choice = self._again(f"Zones={','.join(sorted(good)[:2])}")
        if bad:
            text = f"zone {', '.join(bad)}: it is not available, or has no endpoint of EventBridge"
            yield Answer("MISSING", text, choice)
        elif len(set(wanted)) < 2:
            yield Answer("MISSING", f"two zones, not {', '.join(wanted)}", choice)
        else:
            yield Answer("ok", f"zones {' and '.join(wanted)}")

    def _with_endpoints(self) -> set[str]:
        """The zones in which an interface endpoint of EventBridge can be."""
        name = f"com.amazonaws.{self._region}.events"
        services = self.ask("ec2", "describe_vpc_endpoint_services", ServiceNames=[name])["ServiceDetails"]
        return {zone for each in services for zone in each["AvailabilityZones"]}

    def _subnets(self, vpc: str, wanted: list[str]) -> Iterator[Answer]:
        only = [{"Name": "subnet-id", "Values": wanted}]
        found = {each["SubnetId"]: each for each in self.ask("ec2", "describe_subnets", Filters=only)["Subnets"]}
        zones = [each["AvailabilityZone"] for each in found.values()]
        wrong = [f"there is no {each}" for each in wanted if each not in found]
        wrong += [f"{each} is in {of['VpcId']}, not in {vpc}" for each, of in found.items() if of["VpcId"] != vpc]
        if len(set(zones)) < len(zones):
            wrong.append(f"two subnets are in one zone ({', '.join(zones)})")
        elif without := set(zones) - self._with_endpoints():
            wrong.append(f"zone {', '.join(sorted(without))} has no endpoint of EventBridge")
        if wrong:
            query = "--query 'Subnets[].[SubnetId,AvailabilityZone]' --output text"
            command = self._aws(f"ec2 describe-subnets --filters Name=vpc-id,Values={vpc} {query}")
            yield Answer("MISSING", f"subnets: {'; '.join(wrong)}", f"choose from {command}")
        else:
            yield Answer("ok", f"subnets of {vpc} in {', '.join(zones)}")

    def _endpoints(self, vpc: str, needed: list[str], given: str) -> Iterator[Answer]:
        names = {f"com.amazonaws.{self._region}.{service}": service for service in needed}
        only = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "service-name", "Values": list(names)}]
        groups: dict[str, set[str]] = {}
        for each in self.ask("ec2", "describe_vpc_endpoints", Filters=only)["VpcEndpoints"]:
            if each["VpcEndpointType"] == "Interface" and each.get("PrivateDnsEnabled"):
                groups[names[each["ServiceName"]]] = {group["GroupId"] for group in each.get("Groups", [])}
        shared = set.intersection(*(groups.get(service, set()) for service in needed))
        instead = self._again(f"EndpointSecurityGroupId={min(shared, default='')}")
        what = f"endpoints of {vpc} for {' and '.join(needed)}"
        if given and given not in shared:
            text = f"{what}, with private DNS and the group {given}"
            yield Answer("MISSING", text, instead)
        elif given:
            yield Answer("ok", f"{what}; their group {given} must let TCP 443 of the functions in")
        elif shared:
            yield Answer("note", f"{what} are there, and others will be made; to use them", instead)
        else:
            yield Answer("ok", f"{what} will be made")

    def _archive(self, given: str, vpc: str) -> Iterator[Answer]:
        """The way to S3: its prefix list, and in a VPC that is given an endpoint."""
        service = f"com.amazonaws.{self._region}.s3"
        named = [{"Name": "prefix-list-name", "Values": [service]}]
        (known,) = self.ask("ec2", "describe_managed_prefix_lists", Filters=named)["PrefixLists"]
        right = known["PrefixListId"]
        if given != right:
            text = f"the prefix list of S3 is {right} in {self._region}, not {given}"
            yield Answer("MISSING", text, self._again(f"ArchivePrefixListId={right}"))
        if not vpc:
            return
        only = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "service-name", "Values": [service]}]
        endpoints = self.ask("ec2", "describe_vpc_endpoints", Filters=only)["VpcEndpoints"]
        gateways = [each["VpcEndpointId"] for each in endpoints if each["VpcEndpointType"] == "Gateway"]
        if gateways:
            yield Answer("ok", f"the gateway endpoint of S3 in {vpc}; the route tables of the subnets must lead to it")
        else:
            make = f"ec2 create-vpc-endpoint --vpc-id {vpc} --service-name {service} --route-table-ids ..."
            yield Answer("MISSING", f"a gateway endpoint of S3 in {vpc}", self._aws(make))

    def _secret(self, arn: str) -> Iterator[Answer]:
        make = self._aws(
            "secretsmanager create-secret --name redis-url --secret-string rediss://user:password@host:6379"
        )
        if (region := arn.split(":")[3]) != self._region:
            yield Answer("MISSING", f"the secret is in {region}, and must be in {self._region}", make)
            return
        try:
            secret = self.ask("secretsmanager", "describe_secret", SecretId=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            yield Answer("MISSING", f"the secret {arn}", make)
            return
        key = secret.get("KmsKeyId") or "alias/aws/secretsmanager"
        if "DeletedDate" in secret:
            restore = self._aws(f"secretsmanager restore-secret --secret-id {arn}")
            yield Answer("MISSING", f"the secret {arn} is being deleted", restore)
        elif not key.endswith("alias/aws/secretsmanager"):
            text = f"the secret must be encrypted with the account's default key, not with {key}"
            update = self._aws(f"secretsmanager update-secret --secret-id {arn} --kms-key-id alias/aws/secretsmanager")
            yield Answer("MISSING", text, update)
        else:
            yield Answer("ok", f"the secret {secret['Name']}")

    def _quota(self, service: str, code: str, wanted: int) -> str:
        return self._aws(
            f"service-quotas request-service-quota-increase --service-code {service} --quota-code {code} "
            f"--desired-value {wanted}"
        )

    def _aws(self, command: str) -> str:
        return f"aws {command} --region {self._region}"
