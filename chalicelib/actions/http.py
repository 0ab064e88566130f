"""``std.http`` and ``std.mistral_http``: one HTTP request, its answer as plain data.

Statuses 200 to 306 are success; the error value of any other status has the same shape as a result, so that
``task().result.status`` works after a failure too. A request that got no answer is an exception, with text only.
"""

from __future__ import annotations

import json as json_library
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from chalicelib.actions.action import ActionContext, action
from chalicelib.actions.plain import bytes_to_json
from chalicelib.errors import ActionException
from chalicelib.limits import EXECUTOR_LONG_TIMEOUT_SEC, HTTP_TIMEOUT_SEC
from chalicelib.vocabulary import Json, JsonObject, Result

if TYPE_CHECKING:
    import requests

_SUCCESS: Final = range(200, 307)


def _request(
    url: str,
    *,
    method: str = "GET",
    params: Json = None,
    body: Json = None,
    json: Json = None,
    headers: JsonObject | None = None,
    cookies: JsonObject | None = None,
    auth: str | None = None,
    timeout: float | None = None,
    allow_redirects: bool | None = None,
    proxies: JsonObject | None = None,
    verify: Json = None,
) -> JsonObject:
    """What ``requests`` is to be called with. Raises ``ValueError`` or ``TypeError`` where Mistral refuses the values.

    :param url: Where to; http or https.
    :param method: The method.
    :param params: The query: an object or text.
    :param body: The body: text, or an object that is sent as JSON text (without a content type).
    :param json: The body, any value, sent as JSON with its content type. Not together with body.
    :param headers: Headers; numbers become text.
    :param cookies: Cookies to send, by name.
    :param auth: user:password for basic authentication.
    :param timeout: Seconds without an answer until the request is given up; 60 by default.
    :param allow_redirects: Whether to follow redirects; they are not followed by default.
    :param proxies: Proxy URL by scheme.
    :param verify: False to accept any certificate, or the path of a CA bundle.
    """
    if auth and not isinstance(auth, str):
        raise TypeError(f"auth must be text, user:password, not {type(auth).__name__}")
    if body and json:
        raise ValueError("Only one of the parameters 'json' and 'body' can be passed")
    if isinstance(headers, dict):
        headers = {name: str(value) if isinstance(value, (int, float)) else value for name, value in headers.items()}
    return {
        "method": method,
        "url": url,
        "params": params,
        "data": json_library.dumps(body) if isinstance(body, dict) else body,
        "json": json,
        "headers": headers,
        "cookies": cookies,
        # Text of another form goes through, and the request fails, as it does in Mistral.
        "auth": tuple(auth.split(":")) if auth and auth.count(":") == 1 else auth,
        "timeout": HTTP_TIMEOUT_SEC if timeout is None else timeout,
        "allow_redirects": bool(allow_redirects),
        "proxies": proxies,
        "verify": verify if str(url).startswith("https:") else None,
    }


@action("std.http", like=_request, construct=lambda input: _request(**input))
def http(context: ActionContext, **input: Json) -> Result:
    """Send an HTTP request.

    The result holds content (parsed when it is JSON), status, headers, url, history, encoding, reason, cookies and
    elapsed. A status above 306 is an error whose value has the same fields.
    """
    return _exchange(_request(**input), context)


@action("std.mistral_http", like=_request, sync=False, construct=lambda input: _request(**input))
def mistral_http(context: ActionContext, **input: Json) -> Result:
    """Send an HTTP request whose receiver will complete the action execution through the API.

    The request carries Mistral-Workflow-Name, Mistral-Workflow-Execution-Id, Mistral-Task-Id,
    Mistral-Action-Execution-Id, Mistral-Callback-URL, and Mistral-Webhook-URL where there are webhooks. An error status
    fails the action at once. The parameters are those of std.http.
    """
    identity = {
        "Mistral-Workflow-Name": context.workflow_name,
        "Mistral-Workflow-Execution-Id": context.workflow_execution_id,
        "Mistral-Task-Id": context.task_execution_id,
        "Mistral-Action-Execution-Id": context.action_execution_id,
        "Mistral-Callback-URL": context.callback_url,
        **({"Mistral-Webhook-URL": context.webhook_url} if context.webhook_url else {}),
    }
    return _exchange(_request(**{**input, "headers": {**(input.get("headers") or {}), **identity}}), context)


def _exchange(request: JsonObject, context: ActionContext) -> Result:
    import requests
    from urllib3.exceptions import HTTPError

    from chalicelib.actions import http_transport

    context.egress.check_host(*_scheme_and_host(request["url"]))
    deadline_sec = EXECUTOR_LONG_TIMEOUT_SEC if context.deadline_sec is None else context.deadline_sec
    try:
        response = http_transport.send(policy=context.egress, deadline_sec=deadline_sec, **request)
    except (requests.RequestException, HTTPError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ActionException(f"Failed to send HTTP request: {error}") from error
    value = _plain(response)
    return Result(data=value) if response.status_code in _SUCCESS else Result(error=value)


def _scheme_and_host(url: Json) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname
    except (ValueError, AttributeError, TypeError) as error:
        raise ActionException(f"URL cannot be read: {error}.") from error


def _plain(response: requests.Response) -> JsonObject:
    return {
        "content": _content(response),
        "status": response.status_code,
        "headers": dict(response.headers.items()),
        "url": response.url,
        "history": [
            {"status": step.status_code, "reason": step.reason, "url": step.url, "headers": dict(step.headers.items())}
            for step in response.history
        ],
        "encoding": response.encoding,
        "reason": response.reason,
        "cookies": dict(response.cookies.items()),
        "elapsed": response.elapsed.total_seconds(),
    }


def _content(response: requests.Response) -> Json:
    try:
        return response.json(parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        pass
    try:
        return response.content.decode(response.encoding or "utf-8")
    except (LookupError, UnicodeError):
        return bytes_to_json(response.content)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
