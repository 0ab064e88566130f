"""The local gateway and an authorizer: asked as API Gateway asks, and obeyed."""

import json

import pytest

from chalicelib.local.authorizing import refusal_of
from chalicelib.local.gateway import Match, proxy_event

STATEMENTS = [{"Effect": "Allow", "Resource": ["arn:aws:execute-api:*:*:local/local/*"]}]
ALLOW = {
    "principalId": "ada",
    "policyDocument": {"Statement": STATEMENTS},
    "context": {"project_id": "alpha", "count": 5},
}


def an_event(path="/v2/things/x", **headers):
    return proxy_event("GET", path, Match("/v2/things/{name}", {"name": "x"}), headers=headers, body=b"secret")


def asked(policy, event=None):
    """What an authorizer is asked, and the answer in its stead."""
    seen = []

    def authorizer(request, context):
        seen.append((request, context))
        if isinstance(policy, Exception):
            raise policy
        return policy

    answer = refusal_of(authorizer, event or an_event())
    return seen[0][0], answer


def test_an_authorizer_sees_the_request_but_not_its_body():
    request, _ = asked(ALLOW, an_event(**{"x-auth-token": "t"}))

    assert (request["type"], request["headers"]["x-auth-token"]) == ("REQUEST", "t")
    assert request["methodArn"].endswith("local/GET/v2/things/x")
    assert request["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert "body" not in request


def test_what_it_says_of_the_caller_comes_to_the_app_as_texts():
    event = an_event()

    _, answer = asked(ALLOW, event)

    assert answer is None
    assert event["requestContext"]["authorizer"] == {"principalId": "ada", "project_id": "alpha", "count": "5"}


def test_a_client_cannot_say_it_itself():
    event = an_event()
    event["requestContext"]["authorizer"] = {"project_id": "beta", "roles": "admin"}

    asked(ALLOW, event)

    assert event["requestContext"]["authorizer"]["project_id"] == "alpha"
    assert "roles" not in event["requestContext"]["authorizer"]


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (ValueError("Unauthorized"), 401),
        (ValueError("unauthorized"), 500),
        (RuntimeError("the password is 1234"), 500),
        ({**ALLOW, "policyDocument": {"Statement": []}}, 403),
        ({**ALLOW, "policyDocument": {"Statement": [{"Effect": "Allow", "Resource": ["arn:aws:other"]}]}}, 403),
        ({**ALLOW, "policyDocument": {"Statement": [{"Effect": "Deny", "Resource": ["*"]}]}}, 403),
    ],
)
def test_whoever_does_not_pass_is_told_so_in_the_words_of_mistral(policy, status):
    _, (answered, headers, content) = asked(policy)

    assert answered == status
    assert dict(headers)["Server-Error-Message"] == json.loads(content)["faultstring"]
    assert (dict(headers).get("WWW-Authenticate") == 'Keystone uri="http://127.0.0.1/v3"') is (status == 401)
    assert b"1234" not in content


def test_a_denial_weighs_more_than_a_permission():
    statements = [*STATEMENTS, {"Effect": "Deny", "Resource": ["*/GET/v2/things/x"]}]

    _, answer = asked({**ALLOW, "policyDocument": {"Statement": statements}})

    assert answer[0] == 403
