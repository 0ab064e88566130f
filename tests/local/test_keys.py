"""`mistral-local keys`: API keys of a deployment, managed from a command line."""

import json
import os
import subprocess
import sys

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.tables import DynamoTable, create_tables
from chalicelib.local.emulator import safe_moto
from chalicelib.local.main import main
from chalicelib.local.problems import LocalError
from chalicelib.local.serve import login_of
from chalicelib.local.service import Options, environment_for
from chalicelib.services.api_keys import ApiKeys


@pytest.fixture
def deployed(monkeypatch):
    """Tables with another prefix, and the environment that names them."""
    monkeypatch.setenv("MISTRAL_TABLE_PREFIX", "mine-")
    with safe_moto():
        aws = Aws("us-east-1")
        create_tables(aws, ["mine-definitions"])
        yield ApiKeys(DynamoTable(aws, "mine-definitions"), SystemClock(), SystemEntropy())


def test_a_key_is_made_listed_and_revoked(deployed, capsys):
    assert (
        main(["keys", "create", "alpha", "--role", "admin", "--role", "x", "--description", "for ci", "--days", "7"])
        == 0
    )
    told = dict(line.split(" ") for line in capsys.readouterr().out.splitlines())
    key_id, secret = told["key"], told["secret"]
    found = deployed.find(key_id)
    assert (found.project_id, found.roles) == ("alpha", {"admin", "x"})
    assert deployed.proves(found, secret)

    assert main(["keys", "create", "beta"]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--project", "alpha"]) == 0
    (row,) = capsys.readouterr().out.splitlines()
    assert row.split("\t")[:3] == [key_id, "alpha", "admin,x"]
    assert row.endswith("\tfor ci")
    assert secret not in row
    assert main(["keys", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2

    assert main(["keys", "revoke", key_id]) == 0
    assert main(["keys", "revoke", key_id]) == 1
    assert "There is no API key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["create", ""], "A project is"),
        (["create", "a", "--role", "a,b"], "A role is"),
        (["revoke", "x"], "no API key"),
    ],
)
def test_what_makes_no_sense_is_said(deployed, capsys, arguments, text):
    assert main(["keys", *arguments]) == 1
    assert text in capsys.readouterr().err


def test_where_there_is_no_table_it_is_said(deployed, capsys, monkeypatch):
    monkeypatch.setenv("MISTRAL_TABLE_PREFIX", "nobodys-")
    assert main(["keys", "list"]) == 1
    assert "nobodys-definitions" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "-1", "x", "4000"])
def test_days_are_a_number_of_them(days, capsys):
    with pytest.raises(SystemExit):
        main(["keys", "create", "alpha", "--days", days])
    assert "whole number" in capsys.readouterr().err


def test_what_a_user_types_fits_the_schemes(deployed):
    key, secret = deployed.create("alpha")

    assert login_of(key, secret, "http://h:1", frozenset({"keystone", "api-key"})) == (
        f"export OS_AUTH_URL=http://h:1/v3 OS_PROJECT_NAME=alpha OS_USERNAME={key.id} OS_PASSWORD={secret}"
    )
    assert login_of(key, secret, "http://h:1", frozenset({"api-key"})) == (
        f"export OS_MISTRAL_URL=http://{key.id}:{secret}@h:1/v2"
    )


def test_the_local_service_has_a_secret_of_its_own_each_time_unless_one_is_given():
    options = Options(auth="keystone")
    one, other = environment_for(options, {}), environment_for(options, {})

    assert one["MISTRAL_AUTH"] == "keystone"
    assert len(one["MISTRAL_TOKEN_SECRET"]) >= 32
    assert one["MISTRAL_TOKEN_SECRET"] != other["MISTRAL_TOKEN_SECRET"]
    assert environment_for(options, {"MISTRAL_TOKEN_SECRET": "x" * 32})["MISTRAL_TOKEN_SECRET"] == "x" * 32


def test_schemes_that_are_none_are_refused_before_anything_starts():
    with pytest.raises(LocalError, match="MISTRAL_AUTH"):
        environment_for(Options(auth="nonsense"), {})
    with pytest.raises(LocalError, match="MISTRAL_OIDC_ISSUERS"):
        environment_for(Options(auth="oidc"), {})


def test_a_run_of_one_definition_asks_nobody_who_they_are():
    assert environment_for(Options(), {"MISTRAL_AUTH": "oidc"})["MISTRAL_AUTH"] == "none"


def test_a_door_that_sees_no_token_does_not_load_the_libraries_for_them():
    # botocore takes pyOpenSSL where it finds it: a library of the tests brings it along, the package for Lambda not.
    program = (
        "import sys; sys.modules['OpenSSL'] = None; import app; "
        "print([name for name in ('jwt', 'cryptography') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)

    assert json.loads(shown.stdout.replace("'", '"')) == []
