"""Secrets leave no trace in a line of the log, whatever their form; what is none stays readable."""

import pytest

from chalicelib.services.masking import is_secret, masked, masked_facts

PLANTED = "pl4nt3d-s3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"password={PLANTED}",
        f"{{'db_password': '{PLANTED}', 'user': 'ann'}}",
        f'{{"api_key": "{PLANTED}", "user": "ann"}}',
        f"X-Auth-Token: {PLANTED}",
        f"Authorization: Bearer {PLANTED}.abc",
        f"Authorization: Basic {PLANTED}==",
        f"sent Bearer {PLANTED}",
        f"https://ann:{PLANTED}@host.test/",
        f"postgresql://ann:{PLANTED}@host.test/db",
        f"https://hooks.host.test/services/T0/B0/{PLANTED}",
        f"https://host.test?sig={PLANTED}",
        f"Max retries exceeded with url: /services/{PLANTED} (Caused by x)",
        f"/v2/webhooks/{PLANTED}.abc-_x refused",
        f"secret_access_key='{PLANTED}'",
        f"client-secret : {PLANTED}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n",
        f'{{"credentials": {{"a": "{PLANTED}"}}}}',
        f"mk-{'a' * 26}:{PLANTED}",
        f"eyJhbGciOi.{PLANTED}.sig",
    ],
)
def test_what_is_named_or_formed_like_a_secret_is_masked(text):
    assert PLANTED not in masked(text)
    assert "***" in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "message failed",
        "task create_vm is SUCCESS",
        "GET /v2/executions/{execution_id} failed [request_id=1-2-3]",
        "An error occurred (ThrottlingException) when calling the Query operation: Rate exceeded",
        "2026-01-01T00:00:00Z workflow wf is RUNNING",
    ],
)
def test_what_is_no_secret_stays(text):
    assert masked(text) == text


def test_of_a_url_the_host_is_left():
    assert masked("cannot reach https://host.test:8443/a/b?c=d, try again") == (
        "cannot reach https://host.test:8443/***, try again"
    )


def test_facts_lose_what_is_named_like_a_secret_at_any_depth():
    facts = {"execution": "e-1", "input": {"vm": "web", "admin_pass": PLANTED, "list": [{"token": PLANTED}]}, "n": 3}
    assert masked_facts(facts) == {
        "execution": "e-1",
        "input": {"vm": "web", "admin_pass": "***", "list": [{"token": "***"}]},
        "n": 3,
    }


def test_what_is_nested_too_deeply_is_left_out():
    deep = {"a": {"b": {"c": {"d": {"e": PLANTED}}}}}
    assert PLANTED not in str(masked_facts(deep))


def test_ids_are_no_secrets():
    assert not any(map(is_secret, ("execution", "task_id", "action", "project", "workflow", "request_id", "info")))
