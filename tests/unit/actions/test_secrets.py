"""References in an input become values for the action alone, and nothing of them comes out again."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote_plus

import botocore.session
import pytest
from moto import mock_aws

from chalicelib.actions.action import FunctionAction
from chalicelib.actions.registry import ActionContext, Registry, action, perform
from chalicelib.actions.secrets import (
    AwsSecrets,
    GivenSecrets,
    Secrets,
    holds_references,
    project_part,
    secrets_from,
)
from chalicelib.errors import ActionException, MistralError
from chalicelib.limits import SECRET_BYTES_MAX, SECRET_CACHE_SEC, SECRETS_CACHED_MAX, SECRETS_PER_INPUT_MAX
from chalicelib.vocabulary import Json, Result
from tests.unit.actions.calling import OPEN

TOKEN = "t0p-s3cret/token+1"
KEY = "-----BEGIN KEY-----\nbGluZSBvbmU=\nbGluZSB0d28=\n-----END KEY-----\n"
VALUES = {
    "token": TOKEN,
    "db": {"user": "ann", "password": "hunter22", "port": 54321, "hosts": ["db-1.internal"]},
    "key": KEY,
    "pin": "123",
}


@action("my.show")
def show(given: Json) -> Json:
    """Show what was given."""
    return given


@action("my.fail")
def fail(given: Json) -> Json:
    """Complain of what was given."""
    raise ValueError(f"cannot use {given!r}")


def context(secrets: Secrets | None = None, project_id: str | None = "p-1") -> ActionContext:
    return ActionContext(secrets=secrets or Secrets(GivenSecrets(VALUES)), project_id=project_id, egress=OPEN)


def seen_by_action(given: Json, secrets: Secrets | None = None) -> Json:
    """What an action finds in the place of a reference."""
    seen: list[Json] = []

    @action("my.see")
    def see(given: Json) -> Json:
        """Remember what was given."""
        seen.append(given)

    result = perform(see, {"given": given}, context(secrets))
    assert result.error is None, result.error
    return seen[0]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("secret://token", TOKEN),
        ("secret://db#password", "hunter22"),
        ("secret://db#port", 54321),
        ("secret://db#hosts", ["db-1.internal"]),
        ("Bearer ${secret://token}", f"Bearer {TOKEN}"),
        ("${secret://db#user}:${secret://db#port}", "ann:54321"),
        ({"a": [1, {"b": "secret://token"}]}, {"a": [1, {"b": TOKEN}]}),
        ("see secret://token", "see secret://token"),
        ("$secret://token", "$secret://token"),
        ({"secret://token": 1}, {"secret://token": 1}),
        (None, None),
    ],
)
def test_a_reference_stands_for_its_value_at_any_depth(given, seen):
    assert seen_by_action(given) == seen


def test_a_secret_that_is_json_is_text_as_a_whole():
    assert json.loads(seen_by_action("secret://db")) == VALUES["db"]


@pytest.mark.parametrize(
    "value",
    [
        TOKEN,
        f"...{TOKEN}...",
        {"deep": [{"down": TOKEN}]},
        {TOKEN: 1},
        quote_plus(TOKEN),
        json.dumps({"a": f'"{TOKEN}"'}),
        base64.b64encode(f"ann:{TOKEN}".encode()).decode(),
        base64.b64encode(f"a:{TOKEN}".encode()).decode(),
        base64.b64encode(f"an:{TOKEN}:x".encode()).decode(),
    ],
)
def test_a_value_is_taken_out_of_the_result(value):
    @action("my.answer")
    def answer(given: Json) -> Json:
        """Answer something else."""
        return [given, value]

    result = perform(answer, {"given": "secret://token"}, context())
    shown = json.dumps(result.data)
    assert "***" in shown
    for form in (TOKEN, quote_plus(TOKEN), base64.b64encode(TOKEN.encode()).decode()[:16]):
        assert form not in shown


def test_an_error_value_and_an_exception_tell_no_value(caplog):
    assert perform(fail, {"given": "secret://token"}, context()).error.endswith("msg='cannot use '***'']")
    reported = perform(_failing(), {"given": "secret://db#password"}, context())
    assert reported.error == {"why": "no entry with ***"}
    assert TOKEN not in caplog.text
    assert "test_secrets.py" in caplog.text


def _failing() -> FunctionAction:
    @action("my.report")
    def report(given: Json) -> Json:
        """End with an error value."""
        return Result(error={"why": f"no entry with {given}"})

    return report


def test_the_lines_of_a_key_are_hidden_one_by_one():
    @action("my.lines")
    def lines(given: Json) -> Json:
        """Take a text apart."""
        return str(given).splitlines()

    data = perform(lines, {"given": "secret://key"}, context()).data
    assert data == ["-----BEGIN KEY-----", "***", "***", "-----END KEY-----"]


def test_what_an_action_may_take_out_of_a_json_secret_is_hidden_too():
    @action("my.parse")
    def parse(given: Json) -> Json:
        """Read JSON."""
        return json.loads(given)

    data = perform(parse, {"given": "secret://db"}, context()).data
    assert (data["password"], data["hosts"]) == ("***", ["***"])


def test_members_that_were_not_asked_for_are_not_sought():
    @action("my.mention")
    def mention(given: Json) -> Json:
        """Name the host."""
        return "db-1.internal"

    assert perform(mention, {"given": "secret://db#password"}, context()).data == "db-1.internal"


def test_very_short_values_are_left_alone():
    assert perform(show, {"given": "secret://pin"}, context()).data == "123"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("secret://absent", "secret://absent cannot be read"),
        ("secret://token#x", "secret://token#x: the secret is no JSON object with the key 'x'"),
        ("secret://db#absent", "secret://db#absent: the secret is no JSON object with the key 'absent'"),
        ("secret://", "is no reference to a secret"),
        ("secret://arn:aws:secretsmanager:x", "is no reference to a secret"),
        ("secret://token and more", "is no reference to a secret"),
        ([f"secret://n{number}" for number in range(SECRETS_PER_INPUT_MAX + 1)], "may refer to 20 secrets at most"),
    ],
)
def test_a_reference_that_leads_nowhere_fails_the_action_by_its_name(given, reason):
    values = VALUES | {f"n{number}": "x" for number in range(30)}
    error = perform(show, {"given": given}, context(Secrets(GivenSecrets(values)))).error
    assert reason in error
    assert TOKEN not in error
    assert "hunter22" not in error


def test_outside_an_executor_nothing_is_revealed():
    error = perform(show, {"given": "secret://token"}, ActionContext()).error
    assert "only an executor may read secrets" in error


def test_a_pure_action_with_a_reference_is_none():
    echo = Registry().find("std.echo")
    assert echo is not None
    assert echo.is_pure({"output": "plain"})
    assert not echo.is_pure({"output": {"deep": ["${secret://token}"]}})
    assert not echo.is_pure({"output": "secret://token"})


def test_references_are_found_and_nothing_else():
    assert holds_references([{"a": "x ${secret://n}"}])
    assert not holds_references({"a": ["x secret://n", "${SECRET://n}"], "secret://b": 1, "c": None})


def test_a_secret_is_read_again_only_after_a_while():
    reads: list[str] = []
    moment = [0.0]

    class Counting:
        def read(self, name: str, project_id: str | None) -> str:
            reads.append(name)
            return f"{project_id}-{len(reads)}"

    secrets = Secrets(Counting(), now=lambda: moment[0])
    assert [secrets.text("a", "p"), secrets.text("a", "p"), secrets.text("a", "q")] == ["p-1", "p-1", "q-2"]
    moment[0] = SECRET_CACHE_SEC
    assert secrets.text("a", "p") == "p-3"
    for number in range(SECRETS_CACHED_MAX):
        secrets.text(f"n{number}", "p")
    secrets.text("a", "p")
    assert reads.count("a") == 4


def test_a_secret_has_a_bounded_size():
    secrets = Secrets(GivenSecrets({"big": "x" * (SECRET_BYTES_MAX + 1)}))
    with pytest.raises(ActionException, match="secret://big exceeds 65536 bytes"):
        secrets.text("big", None)


# -- in AWS


def aws_secrets(prefix: str = "mistral/{project}/") -> Secrets:
    return Secrets(AwsSecrets(prefix, region="eu-west-1", endpoint_url=None))


def clients():
    session = botocore.session.Session()
    return session.create_client("secretsmanager", "eu-west-1"), session.create_client("ssm", "eu-west-1")


def test_secrets_manager_and_parameters_are_read_under_the_projects_prefix():
    with mock_aws():
        manager, parameters = clients()
        manager.create_secret(Name="mistral/p-1/token", SecretString=TOKEN)
        manager.create_secret(Name="mistral/p-1/raw", SecretBinary=b"bytes")
        parameters.put_parameter(Name="/mistral/p-1/db/password", Value="hunter22", Type="SecureString")
        given = {"a": "secret://token", "b": "secret://ssm/db/password", "c": "secret://raw"}
        assert seen_by_action(given, aws_secrets()) == {"a": TOKEN, "b": "hunter22", "c": "bytes"}


@pytest.mark.parametrize("project", ["p-2", "p-1/", "P-1", "p", None, "<default-project>"])
def test_no_project_reads_the_secrets_of_another(project):
    with mock_aws():
        manager, parameters = clients()
        manager.create_secret(Name="mistral/p-1/token", SecretString=TOKEN)
        parameters.put_parameter(Name="/mistral/p-1/token", Value=TOKEN, Type="SecureString")
        secrets = aws_secrets()
        assert secrets.text("token", "p-1") == TOKEN
        for name in ("token", "../p-1/token", "1/token", "/p-1/token", "ssm/token", "ssm/../p-1/token"):
            with pytest.raises(ActionException, match="cannot be read"):
                secrets.text(name, project)


def test_a_refusal_of_aws_names_the_secret_that_is_missing():
    with mock_aws():
        error = perform(show, {"given": "secret://token"}, context(aws_secrets())).error
        assert "secret://token cannot be read: [ResourceNotFoundException] (the secret mistral/p-1/token)" in error
        error = perform(show, {"given": "secret://ssm/token"}, context(aws_secrets())).error
        assert "[ParameterNotFound] (the parameter /mistral/p-1/token)" in error


def test_ids_of_projects_never_meet_in_a_name():
    ids = ["a", "A", "a/b", "a.2fb", "a b", "ä", "a-b", "a_b", "default-project."]
    assert len({project_part(each) for each in ids}) == len(ids)
    assert project_part("ab12-c") == "ab12-c"
    assert project_part("<default-project>") == project_part(None) == "default-project"


# -- in a file


def test_a_file_gives_secrets_to_a_local_service(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(VALUES))
    assert seen_by_action("secret://db#password", secrets_from(str(path), "", None, None)) == "hunter22"


@pytest.mark.parametrize("text", ["{", "[]", None])
def test_a_file_that_is_no_json_object_is_refused(tmp_path, text):
    path = tmp_path / "secrets.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MistralError, match="MISTRAL_SECRETS_FILE"):
        secrets_from(str(path), "", None, None)
