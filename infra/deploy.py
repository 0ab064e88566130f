"""`python -m infra.deploy up|down --stage STAGE --region REGION`: what `make deploy` and `make destroy` do.

`up` puts the package where CloudFormation finds it, and brings the stack up to date by a change set; an update that
fails is rolled back by CloudFormation. `down` takes the stack away; tables, bucket and secrets stay unless
`--delete-data` is given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from infra.functions import located
from infra.package import PACKAGE, ROOT, SAM
from infra.terraform import CAPABILITIES

_WAIT: Final = {"Delay": 5, "MaxAttempts": 360}
_NOTHING_TO_DO: Final = ("didn't contain changes", "No updates are to be performed")
_KEPT_TYPES: Final = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SecretsManager::Secret")
_OBJECTS_MAX: Final = 1000  # that S3 deletes at a time
_NEVER_CREATED: Final = ("REVIEW_IN_PROGRESS",)
_CREATED_IN_VAIN: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")


class DeployError(Exception):
    """It could not be done; the text says what to do next."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stage is deployed; ``wait`` is how patiently CloudFormation is asked, in botocore's terms."""

    stage: str
    region: str
    wait: Mapping[str, int] = field(default_factory=lambda: _WAIT)

    @property
    def stack(self) -> str:
        """The name of the stack."""
        return f"mistral-{self.stage}"

    def client(self, service: str) -> Any:
        """A client there."""
        return boto3.client(service, region_name=self.region)

    def code_bucket(self) -> str:
        """The bucket for packages: one for each account and region."""
        account = self.client("sts").get_caller_identity()["Account"]
        return f"mistral-code-{account}-{self.region}"

    def status(self) -> str | None:
        """What CloudFormation says of the stack, or ``None`` if there is none."""
        try:
            found = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return str(found[0]["StackStatus"])


def up(target: Target, folder: Path, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy what is packaged in a folder; the outputs of the stack. Raises DeployError."""
    status = target.status()
    if status in _CREATED_IN_VAIN:
        raise DeployError(
            f"The stack {target.stack} could not be created ({status}): "
            f"look at its events, then `make destroy STAGE={target.stage}`."
        )
    is_new = status is None or status in _NEVER_CREATED
    bucket = target.code_bucket()
    body = template_with_code(folder, bucket, _upload(target, bucket, folder / PACKAGE))
    key = f"{target.stack}/{_digest(body.encode())}.json"
    target.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())
    _change(target, f"https://{bucket}.s3.{target.region}.amazonaws.com/{key}", parameters, is_new=is_new)
    found = target.client("cloudformation").describe_stacks(StackName=target.stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}


def template_with_code(folder: Path, bucket: str, key: str) -> str:
    """The packaged template, its functions' code named by where it was uploaded to."""
    made = located(json.loads((folder / SAM).read_text("utf-8")), bucket, key)
    return json.dumps(made, separators=(",", ":"))


def _upload(target: Target, bucket: str, package: Path) -> str:
    """Put the package into the bucket for it, which is made if need be; its key, by its content."""
    s3 = target.client("s3")
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        place = {"CreateBucketConfiguration": {"LocationConstraint": target.region}}
        s3.create_bucket(Bucket=bucket, **({} if target.region == "us-east-1" else place))
        closed = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
    content = package.read_bytes()
    key = f"{target.stack}/{_digest(content)}.zip"
    s3.put_object(Bucket=bucket, Key=key, Body=content)
    return key


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _change(target: Target, template_url: str, parameters: Mapping[str, str], *, is_new: bool) -> None:
    cloud = target.client("cloudformation")
    known = set() if is_new else _parameters(cloud, target.stack)
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
    kept = [{"ParameterKey": name, "UsePreviousValue": True} for name in sorted(known - parameters.keys())]
    name = f"{target.stack}-{template_url.rpartition('/')[2].removesuffix('.json')}"
    changes = {"StackName": target.stack, "ChangeSetName": name}
    cloud.create_change_set(
        **changes,
        ChangeSetType="CREATE" if is_new else "UPDATE",
        TemplateURL=template_url,
        Parameters=given + kept,
        Capabilities=list(CAPABILITIES),
    )
    try:
        cloud.get_waiter("change_set_create_complete").wait(**changes, WaiterConfig=dict(target.wait))
    except WaiterError as error:
        reason = cloud.describe_change_set(**changes).get("StatusReason", str(error))
        cloud.delete_change_set(**changes)
        if any(words in reason for words in _NOTHING_TO_DO):
            return
        raise DeployError(f"CloudFormation does not take the template: {reason}") from error
    cloud.execute_change_set(**changes)
    waiter = cloud.get_waiter("stack_create_complete" if is_new else "stack_update_complete")
    try:
        waiter.wait(StackName=target.stack, WaiterConfig=dict(target.wait))
    except WaiterError as error:
        raise DeployError(f"{target.stack}: {_first_failure(cloud, target.stack) or error}") from error


def _parameters(cloud: Any, stack: str) -> set[str]:
    """The parameters that the present template has."""
    return {found["ParameterKey"] for found in cloud.get_template_summary(StackName=stack)["Parameters"]}


def _first_failure(cloud: Any, stack: str) -> str | None:
    events = cloud.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return None if not failed else f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason')}"


def down(target: Target, *, delete_data: bool = False) -> list[str]:
    """Take the stack away; what stays. Raises DeployError."""
    if target.status() is None:
        raise DeployError(f"There is no stack {target.stack} in {target.region}.")
    cloud = target.client("cloudformation")
    kept = list(_kept(cloud, target.stack))
    cloud.delete_stack(StackName=target.stack)
    try:
        cloud.get_waiter("stack_delete_complete").wait(StackName=target.stack, WaiterConfig=dict(target.wait))
    except WaiterError as error:
        raise DeployError(f"{target.stack}: {_first_failure(cloud, target.stack) or error}") from error
    if not delete_data:
        return [name for _, name in kept]
    for kind, name in kept:
        _delete(target, kind, name)
    return []


def _kept(cloud: Any, stack: str) -> Iterator[tuple[str, str]]:
    for page in cloud.get_paginator("list_stack_resources").paginate(StackName=stack):
        for found in page["StackResourceSummaries"]:
            if found["ResourceType"] in _KEPT_TYPES:
                yield found["ResourceType"], found["PhysicalResourceId"]


def _delete(target: Target, kind: str, name: str) -> None:
    match kind:
        case "AWS::DynamoDB::Table":
            tables = target.client("dynamodb")
            tables.update_table(TableName=name, DeletionProtectionEnabled=False)
            tables.get_waiter("table_exists").wait(TableName=name, WaiterConfig=dict(target.wait))
            tables.delete_table(TableName=name)
        case "AWS::S3::Bucket":
            s3 = target.client("s3")
            for page in s3.get_paginator("list_objects_v2").paginate(
                Bucket=name, PaginationConfig={"PageSize": _OBJECTS_MAX}
            ):
                objects = [{"Key": found["Key"]} for found in page.get("Contents", ())]
                if objects:
                    s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})
            s3.delete_bucket(Bucket=name)
        case "AWS::SecretsManager::Secret":
            target.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def main(arguments: list[str] | None = None) -> None:
    """Deploy or destroy, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("what", choices=("up", "down"))
    parser.add_argument("--stage", default="dev", help="a stage of .chalice/config.json (dev)")
    parser.add_argument("--region", default="us-east-1", help="where (us-east-1)")
    parser.add_argument("--folder", type=Path, help="what `make package` made (dist/STAGE)")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--delete-data", action="store_true", help="with down: tables, bucket and secrets too")
    chosen = parser.parse_args(arguments)
    target = Target(chosen.stage, chosen.region)
    try:
        if chosen.what == "up":
            parameters = dict(_parameter(text) for text in chosen.parameter)
            for name, value in up(target, chosen.folder or ROOT / "dist" / chosen.stage, parameters).items():
                print(f"{name}: {value}")
        else:
            for name in down(target, delete_data=chosen.delete_data):
                print(f"kept: {name}")
    except (DeployError, BotoCoreError, ClientError, OSError) as error:
        parser.exit(1, f"{chosen.what}: {error}\n")


def _parameter(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise DeployError(f"A parameter is NAME=VALUE, not {text!r}.")
    return name, value


if __name__ == "__main__":
    main()
