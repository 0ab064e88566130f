"""What is made by hand around ``aws.*``: roles, patience, calls of Lambda functions, commands on machines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.sts.models import STSBackend

from chalicelib.actions import aws_roles
from chalicelib.actions.action import ActionContext, AwsSettings, Pending, Polling, perform
from chalicelib.actions.aws import AwsActions
from chalicelib.actions.aws_calls import Patience
from chalicelib.actions.aws_roles import session_name
from chalicelib.actions.registry import Registry
from chalicelib.errors import ActionConstructionError
from chalicelib.vocabulary import Json, JsonObject, Result
from tests.unit.actions.json_service import Answers, Service, json_service

ROLE = "arn:aws:iam::123456789012:role/worker"


@pytest.fixture
def aws():
    with mock_aws():
        yield AwsActions(pause=lambda _: None)


def run(
    source: AwsActions | Registry,
    name: str,
    pending: JsonObject | None = None,
    /,
    *,
    url: str | None = None,
    context: JsonObject | None = None,
    **input: Json,
) -> Result:
    found = source.find(name)
    assert found is not None
    found.check(input)
    found.check_values(input)
    place = AwsSettings(region="eu-west-1", endpoint_url=url)
    facts = {"action_execution_id": "an-id", "project_id": "ab12", "deadline_sec": 100, **(context or {})}
    return perform(found, input, ActionContext(aws=place, pending=pending, **facts))


def data(source: AwsActions, name: str, /, **input: Json) -> Any:
    result = run(source, name, **input)
    assert result.error is None, result.error
    return result.data


# -- services that the other tests do not reach


def test_a_topic_tells_a_queue(aws):
    topic = data(aws, "aws.sns.create_topic", Name="t", query="TopicArn")
    queue = data(aws, "aws.sqs.create_queue", QueueName="q", query="QueueUrl")
    arn = data(
        aws, "aws.sqs.get_queue_attributes", QueueUrl=queue, AttributeNames=["QueueArn"], query="Attributes.QueueArn"
    )
    data(aws, "aws.sns.subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)
    data(aws, "aws.sns.publish", TopicArn=topic, Message="hello")
    body = data(aws, "aws.sqs.receive_message", QueueUrl=queue, query="Messages[0].Body")
    assert json.loads(body)["Message"] == "hello"


def test_a_parameter_is_kept_by_systems_manager(aws):
    data(aws, "aws.ssm.put_parameter", Name="/a/b", Value="5", Type="String")
    found = data(aws, "aws.ssm.get_parameters_by_path", Path="/a", Recursive=True, paginate=True)
    assert [(one["Name"], one["Value"]) for one in found["Parameters"]] == [("/a/b", "5")]


def test_a_state_machine_is_made_and_started(aws):
    definition = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}})
    machine = data(
        aws,
        "aws.stepfunctions.create_state_machine",
        name="m",
        definition=definition,
        roleArn=ROLE,
        query="stateMachineArn",
    )
    started = data(aws, "aws.stepfunctions.start_execution", stateMachineArn=machine, input="{}", query="executionArn")
    state = data(aws, "aws.stepfunctions.describe_execution", executionArn=started, query="status")
    assert state in {"RUNNING", "SUCCEEDED"}


# -- roles


@contextmanager
def sts() -> Iterator[list[JsonObject]]:
    """Calls of ``AssumeRole`` in moto, written down."""
    calls: list[JsonObject] = []
    assume = STSBackend.assume_role

    def spy(self: Any, **values: Any) -> Any:
        calls.append(values)
        return assume(self, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STSBackend, "assume_role", spy)
        yield calls


def test_a_role_is_assumed_as_the_project_and_the_execution(aws):
    execution = {"workflow_execution_id": "an execution"}
    with sts() as calls:
        first = run(aws, "aws.sts.get_caller_identity", context=execution, role_arn=ROLE, query="Arn")
        again = run(aws, "aws.sqs.list_queues", context=execution, role_arn=ROLE)
    assert first.error is None
    assert again.error is None
    assert first.data.endswith("assumed-role/worker/mistral-an_execution")
    assert [(call["external_id"], call["role_session_name"]) for call in calls] == [("ab12", "mistral-an_execution")]


def test_other_projects_executions_and_roles_get_credentials_of_their_own(aws):
    with sts() as calls:
        for project, execution, role in [
            ("a1", "x", ROLE),
            ("b2", "x", ROLE),
            ("a1", "y", ROLE),
            ("a1", "x", ROLE + "2"),
        ]:
            context = {"workflow_execution_id": execution, "project_id": project}
            assert run(aws, "aws.sqs.list_queues", context=context, role_arn=role).error is None
    assert len(calls) == 4


def test_credentials_are_renewed_before_they_end_and_bounded(aws, monkeypatch):
    with sts() as calls:
        run(aws, "aws.sqs.list_queues", role_arn=ROLE)
        later = time.time() + 3600 - 200
        monkeypatch.setattr("chalicelib.actions.aws_roles.time.time", lambda: later)
        run(aws, "aws.sqs.list_queues", role_arn=ROLE)
        assert len(calls) == 2
        monkeypatch.setattr(aws_roles, "AWS_ROLES_CACHED_MAX", 2)
        for number in range(5):
            run(aws, "aws.sqs.list_queues", role_arn=f"{ROLE}{number}")
    assert len(aws._calls._roles._kept) == 2


def test_a_role_that_is_refused_is_named():
    actions = AwsActions()
    with xml_service(
        403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    ) as url:
        error = run(actions, "aws.sqs.list_queues", url=url, role_arn=ROLE).error
    assert f"aws.sqs.list_queues failed: the role {ROLE} cannot be assumed: [AccessDenied] no" in error


@contextmanager
def xml_service(status: int, body: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_session_is_named_in_what_aws_allows():
    assert session_name(ActionContext(workflow_execution_id="ä b/c" + "x" * 100)) == "mistral-__b_c" + "x" * 51
    assert session_name(ActionContext(action_execution_id="1")) == "mistral-1"


# -- patience


def throttled(code: str = "ThrottlingException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "slowly"}}, "Op")


class Time:
    """A clock that pauses move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        monkeypatch.setattr("chalicelib.actions.aws_calls.time.monotonic", lambda: self.now)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def test_what_is_throttled_is_tried_again_ever_later_until_the_time_is_over(monkeypatch):
    clock = Time(monkeypatch)

    def call() -> None:
        raise throttled()

    with pytest.raises(ClientError):
        Patience(100, clock.pause).with_call(call)
    assert len(clock.pauses) >= 6
    assert clock.pauses[0] <= 1
    assert max(clock.pauses) > 8
    assert clock.now < 100


def test_what_is_throttled_for_a_while_succeeds(monkeypatch):
    clock, errors = Time(monkeypatch), [throttled(), throttled("SlowDown")]

    def call() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert Patience(None, clock.pause).with_call(call) == "done"
    assert len(clock.pauses) == 2


def test_other_errors_are_not_repeated(monkeypatch):
    clock = Time(monkeypatch)

    def call() -> None:
        raise throttled("AccessDenied")

    with pytest.raises(ClientError):
        Patience(100, clock.pause).with_call(call)
    assert clock.pauses == []


def test_a_throttled_page_is_asked_for_again():
    asked: list[JsonObject] = []

    def list_tables(values: JsonObject) -> tuple[int, JsonObject]:
        asked.append(values)
        # botocore itself tries a call three times.
        if 2 <= len(asked) <= 4:
            return 400, {"__type": "ThrottlingException", "message": "slowly"}
        last = "ExclusiveStartTableName" in values
        return 200, {"TableNames": ["bbb"]} if last else {"TableNames": ["aaa"], "LastEvaluatedTableName": "aaa"}

    with json_service({"ListTables": list_tables}) as service:
        result = run(AwsActions(pause=lambda _: None), "aws.dynamodb.list_tables", url=service.url, paginate=True)
    assert result.data == {"TableNames": ["aaa", "bbb"]}


# -- Lambda functions


@contextmanager
def function_service(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[Any]]]:
    """AWS's front of a function: what it was called with, and what it answers."""
    calls: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append((self.path, json.loads(sent), self.headers.get("X-Amz-Invocation-Type")))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_function_is_called_with_json_and_answers_json():
    with function_service(200, b'{"sum": 3}') as (url, calls):
        result = run(AwsActions(), "aws.lambda.call", url=url, function_name="add", payload=[1, 2], qualifier="live")
    assert result.data == {"sum": 3}
    ((path, payload, _),) = calls
    assert "/functions/add/invocations" in path
    assert "Qualifier=live" in path
    assert payload == [1, 2]


@pytest.mark.parametrize(
    ("body", "value"), [(b"null", None), (b"", None), (b"plain", "plain"), (b"\xff", {"base64": "/w=="})]
)
def test_whatever_a_function_answers_is_a_result(body: bytes, value: Json):
    with function_service(200, body) as (url, _):
        assert run(AwsActions(), "aws.lambda.call", url=url, function_name="f").data == value


def test_what_a_function_raises_is_the_error():
    raised = {"errorType": "ValueError", "errorMessage": "no", "stackTrace": []}
    with function_service(200, json.dumps(raised).encode(), X_Amz_Function_Error="Unhandled") as (url, _):
        assert run(AwsActions(), "aws.lambda.call", url=url, function_name="f").error == raised


def test_a_function_that_is_not_there_was_not_called(aws):
    error = run(aws, "aws.lambda.call", function_name="nobody").error
    assert "the function nobody was not called: [ResourceNotFoundException]" in error


def test_a_function_that_answers_later_gets_the_webhook():
    actions = AwsActions()
    found = actions.find("aws.lambda.call_async")
    assert found is not None
    assert not found.is_sync
    with function_service(202, b"") as (url, calls):
        result = run(
            actions,
            "aws.lambda.call_async",
            url=url,
            context={"webhook_url": "https://x/v2/webhooks/t"},
            function_name="f",
            payload={"a": 1},
        )
    assert result.error is None
    ((_, payload, kind),) = calls
    assert kind == "Event"
    assert payload == {"payload": {"a": 1}, "webhook_url": "https://x/v2/webhooks/t", "action_execution_id": "an-id"}
    assert "needs webhooks" in run(actions, "aws.lambda.call_async", function_name="f").error


def test_functions_of_a_prefix_are_actions():
    registry = Registry(lambda_prefix="mistral-")
    with function_service(200, b"7") as (url, calls):
        result = run(registry, "lambda.price", url=url, article="a", context=None)
    assert result.data == 7
    assert "/functions/mistral-price/invocations" in calls[0][0]
    assert calls[0][1] == {"article": "a"}
    assert registry.find("lambda.no name") is None
    assert Registry().find("lambda.price") is None


def test_names_by_hand_are_listed_and_taken_by_no_operation():
    actions = AwsActions()
    for name in actions._made:
        _, service, operation = name.split(".")
        assert operation not in actions._models.operations(service)
        assert name in list(actions.names(prefix=f"aws.{service}."))


# -- commands


def machines(*, looks: int = 2, failing: frozenset[str] = frozenset()) -> Answers:
    """Systems Manager with two machines that take some time."""
    left = [looks]
    hosts = ("i-1", "i-2")

    def of(host: str) -> str:
        return "Failed" if host in failing else "Success"

    def list_commands(values: JsonObject) -> tuple[int, JsonObject]:
        left[0] -= 1
        ended = "Failed" if failing else "Success"
        return 200, {"Commands": [{"CommandId": values["CommandId"], "Status": ended if left[0] < 0 else "InProgress"}]}

    def invocations(values: JsonObject) -> tuple[int, JsonObject]:
        at = 1 if values.get("NextToken") else 0
        host = hosts[at]
        plugins = [{"Name": "step", "Status": of(host)}, {"Name": "other", "Status": "NotApplicable"}]
        found = {"InstanceId": host, "InstanceName": f"{host}.local", "Status": of(host), "CommandPlugins": plugins}
        return 200, {"CommandInvocations": [found], **({} if at else {"NextToken": "more"})}

    def told(values: JsonObject) -> tuple[int, JsonObject]:
        host = values["InstanceId"]
        return 200, {
            "Status": of(host),
            "ResponseCode": 3 if host in failing else 0,
            "StandardOutputContent": f"out of {host}",
            "StandardErrorContent": "broken" if host in failing else "",
        }

    return {
        "SendCommand": lambda _: (200, {"Command": {"CommandId": "c" * 36}}),
        "ListCommands": list_commands,
        "ListCommandInvocations": invocations,
        "GetCommandInvocation": told,
    }


def until_done(actions: AwsActions, name: str, service: Service, **input: Json) -> Result:
    pending: JsonObject | None = None
    for _ in range(10):
        result = run(actions, name, pending, url=service.url, **input)
        if not isinstance(result, Pending):
            return result
        pending = result.data
    raise AssertionError("it never ends")


def test_a_command_is_sent_once_and_told_host_by_host():
    with json_service(machines()) as service:
        result = until_done(
            AwsActions(),
            "aws.ssm.run_command",
            service,
            commands=["uptime"],
            targets=[{"Key": "tag:role", "Values": ["web"]}],
            parameters={"workingDirectory": "/srv", "executionTimeout": 60},
            max_concurrency="50%",
        )
    (sent,) = service.named("SendCommand")
    assert sent["DocumentName"] == "AWS-RunShellScript"
    assert sent["Parameters"] == {
        "commands": ["uptime"],
        "workingDirectory": ["/srv"],
        "executionTimeout": ["60"],
    }
    assert (sent["Comment"], sent["MaxConcurrency"]) == ("mistral an-id", "50%")
    assert len(service.named("ListCommands")) == 3
    assert result.data["status"] == "Success"
    assert [(host["instance_id"], host["exit_code"], host["stdout"]) for host in result.data["hosts"]] == [
        ("i-1", 0, "out of i-1"),
        ("i-2", 0, "out of i-2"),
    ]


def test_one_machine_that_fails_makes_an_error_that_tells_of_all():
    with json_service(machines(failing=frozenset({"i-2"}))) as service:
        result = until_done(
            AwsActions(), "aws.ssm.run_command", service, commands=["false"], instance_ids=["i-1", "i-2"]
        )
    assert result.error["status"] == "Failed"
    first, second = result.error["hosts"]
    assert (first["status"], first["exit_code"]) == ("Success", 0)
    assert (second["status"], second["exit_code"], second["stderr"]) == ("Failed", 3, "broken")


def test_a_playbook_is_a_command_of_its_document():
    with json_service(machines()) as service:
        result = until_done(
            AwsActions(),
            "aws.ssm.run_playbook",
            service,
            playbook_file="site.yml",
            source_info={"path": "https://s3.amazonaws.com/b/p.zip"},
            instance_ids=["i-1", "i-2"],
            extra_variables={"version": 5},
            check=True,
        )
    (sent,) = service.named("SendCommand")
    assert sent["DocumentName"] == "AWS-ApplyAnsiblePlaybooks"
    assert sent["Parameters"]["ExtraVariables"] == ["SSM=True version=5"]
    assert json.loads(sent["Parameters"]["SourceInfo"][0]) == {"path": "https://s3.amazonaws.com/b/p.zip"}
    assert (sent["Parameters"]["Check"], sent["Parameters"]["PlaybookFile"]) == (["True"], ["site.yml"])
    assert len(result.data["hosts"]) == 2


def test_a_command_that_reaches_no_machine_is_an_error():
    answers = machines(looks=0) | {"ListCommandInvocations": lambda _: (200, {"CommandInvocations": []})}
    with json_service(answers) as service:
        result = until_done(AwsActions(), "aws.ssm.run_command", service, commands=["x"], targets=[{"Key": "tag:a"}])
    assert result.error["hosts"] == []


def test_a_command_that_is_refused_says_why():
    answers: Answers = {"SendCommand": lambda _: (400, {"__type": "InvalidInstanceId", "message": "not there"})}
    with json_service(answers) as service:
        error = run(AwsActions(), "aws.ssm.run_command", url=service.url, commands=["x"], instance_ids=["i-1"]).error
    assert "AWS-RunShellScript failed: [InvalidInstanceId] not there" in error


def test_a_command_on_more_machines_than_can_be_told_of_is_an_error(monkeypatch):
    monkeypatch.setattr("chalicelib.actions.aws_ssm.AWS_SSM_HOSTS_MAX", 1)
    with json_service(machines(looks=0)) as service:
        result = until_done(AwsActions(), "aws.ssm.run_command", service, commands=["x"], targets=[{"Key": "tag:a"}])
    assert "ran on more than 1 machines" in result.error


@pytest.mark.parametrize("hosts", [{}, {"instance_ids": ["i-1"], "targets": [{}]}, {"instance_ids": []}])
def test_a_command_needs_to_know_its_machines(hosts: JsonObject):
    found = AwsActions().find("aws.ssm.run_command")
    assert found is not None
    assert found.polling is Polling.AFTER_START
    with pytest.raises(ActionConstructionError, match="on which machines"):
        found.check_values(hosts)
