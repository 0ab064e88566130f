"""An answer that is larger than Lambda gives out reaches clients all the same: they follow where they are sent."""

import json

import pytest
from mistralclient.api import client

from tests.api.replays.caller import Caller
from tests.docs_service import serving

LARGE = '"' * 400_000  # escaped twice, and once more by Lambda
ECHO = "{input: [a], output: {a: <% $.a %>}, tasks: {t: {action: std.noop}}}"


@pytest.fixture(params=["memory", "moto"])
def stored(request, url):
    """The service on each storage."""
    if request.param == "memory":
        yield url
    else:
        with serving() as served:
            yield served


def test_a_large_execution_is_read_whole(stored, name):
    with Caller(stored) as api:
        api.workflow(name, ECHO)
        execution = api.finished(name, input={"a": LARGE})
        sent = api.get(f"{stored}/executions/{execution['id']}", allow_redirects=False, timeout=30)
        got = api.get(sent.headers["Location"], timeout=30)

    assert (sent.status_code, sent.content) == (303, b"")
    assert got.headers["Content-Type"] == "application/json"
    assert got.json() == execution
    assert json.loads(execution["output"]) == {"a": LARGE}
    assert json.loads(client.client(mistral_url=stored).executions.get(execution["id"]).input) == {"a": LARGE}


def test_a_large_execution_is_started_with_the_usual_status(api, name):
    api.workflow(name, ECHO)
    response = api.post(f"{api.url}/executions", json={"workflow_name": name, "input": {"a": LARGE}}, timeout=30)

    assert response.status_code == 201
    assert response.headers["X-Mistral-Omitted"] in ("input", "output")


def test_a_request_that_lambda_would_not_take_is_refused(api, name):
    assert "larger than" in api.refused(
        "POST", "executions", 413, json={"workflow_name": name, "input": {"a": LARGE * 8}}
    )
