"""Commands on machines through AWS Systems Manager: sent once, waited for without a process, told host by host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.actions.action import ActionContext, FunctionAction, Pending, Polling, action
from chalicelib.actions.aws_calls import AwsCalls, Patience, fault_text
from chalicelib.errors import ActionException
from chalicelib.limits import AWS_SSM_HOSTS_MAX
from chalicelib.vocabulary import Json, JsonObject, Result

_UNFINISHED: Final = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
_SUCCESS: Final = "Success"
# Steps that a document has for other platforms, or that never began, have nothing to say.
_SILENT: Final = frozenset({"Pending", "NotApplicable"})
_DELAY_SEC: Final = 5.0
_SHELL: Final = "AWS-RunShellScript"
_PLAYBOOKS: Final = "AWS-ApplyAnsiblePlaybooks"


def ssm_actions(calls: AwsCalls) -> tuple[FunctionAction, ...]:
    """The actions by hand of ``aws.ssm``."""
    return _run_command(calls), _run_playbook(calls)


def _run_command(calls: AwsCalls) -> FunctionAction:
    @action("aws.ssm.run_command", polling=Polling.AFTER_START, construct=_check_hosts)
    def run_command(
        context: ActionContext,
        *,
        commands: list[Json] | None = None,
        instance_ids: list[Json] | None = None,
        targets: list[Json] | None = None,
        document_name: str = _SHELL,
        parameters: JsonObject | None = None,
        timeout_sec: int | None = None,
        max_concurrency: str | None = None,
        max_errors: str | None = None,
        delay: float = _DELAY_SEC,
        region: str | None = None,
        role_arn: str | None = None,
    ) -> Json:
        """Run a command on machines that Systems Manager looks after, and wait until it has ended on all of them.

        Result and error have the same form: ``command_id``, ``status`` and ``hosts``, a list of objects with
        ``instance_id``, ``name``, ``status``, ``exit_code``, ``stdout`` and ``stderr``. It is an error unless all
        succeeded. Cancelling the workflow ends the waiting, not the command.

        :param commands: The lines of a shell script; short for ``parameters`` with ``commands``.
        :param instance_ids: On which machines; this or ``targets``.
        :param targets: By what tags or resource groups the machines are chosen, as AWS spells it (``Key``, ``Values``).
        :param document_name: The document that is run.
        :param parameters: The document's own parameters: texts, or lists of them.
        :param timeout_sec: How long a machine may take to begin, at least 30.
        :param max_concurrency: On how many machines at once, a number or a percentage.
        :param max_errors: After how many errors no more machines begin, a number or a percentage.
        :param delay: The seconds from one look to the next.
        :param region: The AWS region, else the installation's own.
        :param role_arn: A role to act as; its trust policy sees the project's id.
        """
        given = dict(parameters or {}) | ({} if commands is None else {"commands": commands})
        order = _order(context, instance_ids, targets, document_name, given) | _present(
            {
                "TimeoutSeconds": timeout_sec,
                "MaxConcurrency": max_concurrency,
                "MaxErrors": max_errors,
            }
        )
        client = calls.client("ssm", context, region=region, role_arn=role_arn)
        return _step(client, calls.patience(context), context, order, delay)

    return run_command


def _run_playbook(calls: AwsCalls) -> FunctionAction:
    @action("aws.ssm.run_playbook", polling=Polling.AFTER_START, construct=_check_hosts)
    def run_playbook(
        context: ActionContext,
        *,
        playbook_file: str,
        source_info: JsonObject,
        source_type: str = "S3",
        instance_ids: list[Json] | None = None,
        targets: list[Json] | None = None,
        extra_variables: JsonObject | None = None,
        check: bool = False,
        verbose: str = "-v",
        install_dependencies: bool = True,
        timeout_sec: int = 3600,
        delay: float = 15.0,
        region: str | None = None,
        role_arn: str | None = None,
    ) -> Json:
        """Apply an Ansible playbook on machines, by Systems Manager's document ``AWS-ApplyAnsiblePlaybooks``.

        Each machine applies it to itself. Result and error are those of ``aws.ssm.run_command``.

        :param playbook_file: The playbook's path in the source.
        :param source_info: Where the source is: ``{"path": "https://…"}`` for S3; owner, repository … for GitHub.
        :param source_type: ``S3`` or ``GitHub``.
        :param instance_ids: On which machines; this or ``targets``.
        :param targets: By what tags or resource groups the machines are chosen, as AWS spells it (``Key``, ``Values``).
        :param extra_variables: Variables for the playbook: texts without spaces.
        :param check: Only tell what would change.
        :param verbose: ``-v`` to ``-vvvv``.
        :param install_dependencies: Install Ansible first where it is missing.
        :param timeout_sec: How long the playbook may take on a machine.
        :param delay: The seconds from one look to the next.
        :param region: The AWS region, else the installation's own.
        :param role_arn: A role to act as; its trust policy sees the project's id.
        """
        variables = " ".join(f"{name}={value}" for name, value in ({"SSM": True} | (extra_variables or {})).items())
        parameters = {
            "SourceType": source_type,
            "SourceInfo": json.dumps(source_info),
            "InstallDependencies": str(install_dependencies),
            "PlaybookFile": playbook_file,
            "ExtraVariables": variables,
            "Check": str(check),
            "Verbose": verbose,
            "TimeoutSeconds": str(timeout_sec),
        }
        order = _order(context, instance_ids, targets, _PLAYBOOKS, parameters)
        client = calls.client("ssm", context, region=region, role_arn=role_arn)
        return _step(client, calls.patience(context), context, order, delay)

    return run_playbook


def _check_hosts(input: JsonObject) -> None:
    """Raises ValueError unless the input says on which machines."""
    if bool(input.get("instance_ids")) == bool(input.get("targets")):
        raise ValueError("instance_ids or targets must say on which machines, and not both")


def _present(values: JsonObject) -> JsonObject:
    return {name: value for name, value in values.items() if value is not None}


def _order(
    context: ActionContext,
    instance_ids: list[Json] | None,
    targets: list[Json] | None,
    document_name: str,
    parameters: Mapping[str, Json],
) -> JsonObject:
    lists = {
        name: [str(item) for item in value] if isinstance(value, list) else [str(value)]
        for name, value in parameters.items()
    }
    hosts = {"InstanceIds": instance_ids} if instance_ids else {"Targets": targets}
    comment = f"mistral {context.action_execution_id}"
    return {"DocumentName": document_name, "Parameters": lists, "Comment": comment, **hosts}


def _step(client: Any, patience: Patience, context: ActionContext, order: JsonObject, delay: float) -> Result:
    """Send the command first, then look after it. Raises ActionException with AWS's error."""
    try:
        if context.pending is None:
            sent = patience.with_call(lambda: client.send_command(**order))
            return Pending({"command_id": sent["Command"]["CommandId"]}, delay_sec=delay)
        command_id = context.pending["command_id"]
        found = patience.with_call(lambda: client.list_commands(CommandId=command_id))["Commands"]
        status = found[0]["Status"] if found else "Pending"
        if status in _UNFINISHED:
            return Pending(context.pending, delay_sec=delay)
        hosts = _hosts(client, patience, command_id)
    except ClientError as error:
        raise ActionException(f"{order['DocumentName']} failed: {fault_text(error)}") from error
    except BotoCoreError as error:
        raise ActionException(f"{order['DocumentName']} failed: {error}") from error
    report = {"command_id": command_id, "status": status, "hosts": hosts}
    # A command without any machine succeeds for AWS; who asked for machines would not notice.
    if status != _SUCCESS or not hosts:
        return Result(error=report)
    return Result(data=report)


def _hosts(client: Any, patience: Patience, command_id: str) -> list[JsonObject]:
    hosts: list[JsonObject] = []
    page: JsonObject = {"NextToken": None}
    while "NextToken" in page:
        request = {"CommandId": command_id, "Details": True, "MaxResults": 50} | _present(
            {"NextToken": page["NextToken"]}
        )
        page = patience.with_call(lambda request=request: client.list_command_invocations(**request))  # type: ignore[misc]
        if not page.get("NextToken"):
            page.pop("NextToken", None)
        hosts += [_host(client, patience, command_id, invocation) for invocation in page["CommandInvocations"]]
        if len(hosts) > AWS_SSM_HOSTS_MAX:
            raise ActionException(
                f"the command {command_id} ran on more than {AWS_SSM_HOSTS_MAX} machines: choose fewer at once"
            )
    return hosts


def _host(client: Any, patience: Patience, command_id: str, invocation: JsonObject) -> JsonObject:
    """What came of the command on one machine; of a document with several steps, all that they wrote."""
    instance_id = invocation["InstanceId"]
    steps = [step for step in invocation.get("CommandPlugins", ()) if step.get("Status") not in _SILENT]
    told = [
        patience.with_call(
            lambda name=step["Name"]: client.get_command_invocation(  # type: ignore[misc]
                CommandId=command_id, InstanceId=instance_id, PluginName=name
            )
        )
        for step in steps
    ]
    failed = [step for step in told if step["Status"] != _SUCCESS]
    return {
        "instance_id": instance_id,
        "name": invocation.get("InstanceName", ""),
        "status": invocation["Status"],
        "status_details": invocation.get("StatusDetails", ""),
        "exit_code": (failed or told)[-1]["ResponseCode"] if told else None,
        "stdout": "".join(step.get("StandardOutputContent", "") for step in told),
        "stderr": "".join(step.get("StandardErrorContent", "") for step in told),
    }
