"""Calling a user's Lambda functions: JSON in, JSON out, the function's own error as the action's error."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.actions.action import ActionContext, FunctionAction, action
from chalicelib.actions.aws_calls import AwsCalls, fault_text
from chalicelib.actions.aws_values import to_json
from chalicelib.errors import ActionException
from chalicelib.vocabulary import Json, JsonObject, Result

_FUNCTION_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def lambda_actions(calls: AwsCalls) -> tuple[FunctionAction, ...]:
    """The actions by hand of ``aws.lambda``."""
    return _call(calls), _call_async(calls)


def _call(calls: AwsCalls) -> FunctionAction:
    @action("aws.lambda.call")
    def call(
        context: ActionContext,
        *,
        function_name: str,
        payload: Json = None,
        qualifier: str | None = None,
        region: str | None = None,
        role_arn: str | None = None,
    ) -> Json:
        """Call a Lambda function and wait for what it returns.

        The result is what the function returned. What it raised is the error, an object with ``errorType``,
        ``errorMessage`` and, from most runtimes, ``stackTrace``.

        :param function_name: The function's name or ARN.
        :param payload: What it is called with, any JSON.
        :param qualifier: A version or an alias.
        :param region: The AWS region, else the installation's own.
        :param role_arn: A role to act as; its trust policy sees the project's id.
        """
        options = {"Qualifier": qualifier} if qualifier else {}
        client = calls.client("lambda", context, region=region, role_arn=role_arn)
        return _called(calls, client, context, function_name=function_name, payload=payload, options=options)

    return call


def _call_async(calls: AwsCalls) -> FunctionAction:
    @action("aws.lambda.call_async", sync=False)
    def call_async(
        context: ActionContext,
        *,
        function_name: str,
        payload: Json = None,
        qualifier: str | None = None,
        region: str | None = None,
        role_arn: str | None = None,
    ) -> Json:
        """Start a Lambda function that completes the action itself, later.

        The function is called with ``{"payload": …, "webhook_url": …, "action_execution_id": …}``. Whoever sends JSON
        to the webhook's URL by POST ends the action with it; ``?state=ERROR`` ends it as an error. A function that
        fails sends nothing: give the task a ``timeout``.

        :param function_name: The function's name or ARN.
        :param payload: What it is called with, any JSON.
        :param qualifier: A version or an alias.
        :param region: The AWS region, else the installation's own.
        :param role_arn: A role to act as; its trust policy sees the project's id.
        """
        if context.webhook_url is None:
            raise ActionException("aws.lambda.call_async needs webhooks, and this service has none: set their secret")
        options = {"InvocationType": "Event"} | ({"Qualifier": qualifier} if qualifier else {})
        client = calls.client("lambda", context, region=region, role_arn=role_arn)
        event = {
            "payload": payload,
            "webhook_url": context.webhook_url,
            "action_execution_id": context.action_execution_id,
        }
        return _called(calls, client, context, function_name=function_name, payload=event, options=options)

    return call_async


def function_action(calls: AwsCalls, name: str, prefix: str) -> FunctionAction | None:
    """The action ``lambda.<name>``, which calls the function ``<prefix><name>`` with its input."""
    function_name = prefix + name.partition(".")[2]
    if _FUNCTION_NAME.fullmatch(function_name) is None:
        return None

    @action(name)
    def call(context: ActionContext, /, **payload: Json) -> Json:
        """Call a Lambda function with the input of the action, whatever it is, and wait for what it returns."""
        client = calls.client("lambda", context, region=None, role_arn=None)
        return _called(calls, client, context, function_name=function_name, payload=payload, options={})

    return call


def _called(
    calls: AwsCalls, client: Any, context: ActionContext, *, function_name: str, payload: Json, options: JsonObject
) -> Result:
    """The result of a call. Raises ActionException where the function was not called at all."""
    request = {"FunctionName": function_name, "Payload": json.dumps(payload).encode(), **options}
    try:
        answer = calls.patience(context).with_call(lambda: client.invoke(**request))
        value = _decoded(answer)
    except ClientError as error:
        raise ActionException(f"the function {function_name} was not called: {fault_text(error)}") from error
    except BotoCoreError as error:
        raise ActionException(f"the call of the function {function_name} failed: {error}") from error
    if "FunctionError" in answer:
        return Result(error=value if value else {"errorType": answer["FunctionError"], "errorMessage": ""})
    return Result(data=value)


def _decoded(answer: JsonObject) -> Json:
    """What a function returned: JSON, or the text or bytes sent instead. Raises ActionException if it is too large."""
    value = to_json(answer["Payload"])
    if not isinstance(value, str) or not value:
        return value or None
    try:
        return json.loads(value)
    except ValueError:
        return value
