"""The logins of the clients as they are: `mistral` and `openstack` with Keystone, with Keycloak, and without either."""

import json
import os
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import requests
from keystoneauth1 import session
from keystoneauth1.identity.v3 import Password
from mistralclient.api import client

from tests.client.shell import Mistral
from tests.docs_service import BIN
from tests.unit.services.issuer import AUDIENCE, issuing

SESSION_SEC = 600
ENVIRONMENT = {"name": "lo_oidc", "variables": {"a": 1}}
WORKFLOW = "version: '2.0'\nlo_keystone: {tasks: {a: {action: std.noop}}}\n"


@dataclass(frozen=True)
class Site:
    """A service with authentication: its address, and an API key of project demo."""

    base: str
    key: str
    secret: str
    issuer: object

    @property
    def keystone(self):
        """The options of a default login."""
        told = {"--os-auth-url": f"{self.base}/v3", "--os-project-name": "demo"}
        told |= {"--os-username": self.key, "--os-password": self.secret}
        return [text for pair in told.items() for text in pair]


@pytest.fixture(scope="module")
def site():
    with issuing() as issuer:
        told = json.dumps([{"issuer": f"{issuer.url}/realms/*", "audience": AUDIENCE}])
        with serving_with_logins("keystone,api-key,oidc", MISTRAL_OIDC_ISSUERS=told) as lines:
            assert lines[1] == "# project demo:"
            base = lines[0].split()[2].removesuffix("/v2")
            shown = dict(word.split("=", 1) for word in lines[2].split()[1:])
            yield Site(base, shown["OS_USERNAME"], shown["OS_PASSWORD"], issuer)


@contextmanager
def serving_with_logins(schemes, **environment):
    """``mistral-local serve`` on a free port; what it prints at first. It has to end well."""
    command = [str(BIN / "mistral-local"), "serve", "--port", "0", "--quiet", "--storage", "memory", "--auth", schemes]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(SESSION_SEC, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            yield [process.stdout.readline().rstrip() for _ in range(5)]
        finally:
            process.terminate()
            errors = process.communicate()[1]
            watchdog.cancel()
    assert process.returncode == 0, errors


@pytest.fixture
def mistral(tmp_path):
    """The command line, with these options to log in."""
    return lambda *options: Mistral("", tmp_path, options)


def actions_shown(user):
    return user.column("Name", "action-list", "--filter", "name=std.echo")


def test_the_default_login_of_mistral_works(site, mistral):
    user = mistral(*site.keystone)
    (row,) = user.rows("workflow-create", user.file("w.yaml", WORKFLOW))

    assert row["Project ID"] == "demo"
    assert user.column("Name", "workflow-list") == ["lo_keystone"]


def test_a_token_will_do_as_well(site, mistral):
    options = ("--os-auth-url", f"{site.base}/v3", "--os-auth-token", logged_in(site), "--os-project-name", "demo")

    assert actions_shown(mistral(*options)) == ["std.echo"]


def test_the_keycloak_login_of_mistral_works(site, mistral):
    options = [*site.keystone, "--auth-type", "keycloak-oidc", "--openid-client-id", "cli"]
    options[1] = site.base

    assert actions_shown(mistral(*options, "--os-mistral-url", f"{site.base}/v2")) == ["std.echo"]


def test_a_key_and_its_secret_in_the_address_are_enough(site, mistral):
    address = site.base.replace("://", f"://{site.key}:{site.secret}@")

    assert actions_shown(mistral("--os-mistral-url", f"{address}/v2")) == ["std.echo"]


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (7, "wrong", "The API key or its secret is wrong."),
        (5, "mk-nobody", "The API key or its secret is wrong."),
        (3, "other", "not of the project"),
    ],
)
def test_a_login_that_fails_says_why(site, mistral, place, value, text):
    options = list(site.keystone)
    options[place] = value

    ended = mistral(*options).run("workflow-list")

    assert ended.status == 1
    assert text in ended.told


def test_without_a_login_mistral_says_what_is_missing(site, mistral):
    ended = mistral("--os-mistral-url", f"{site.base}/v2").run("workflow-list")

    assert ended.status == 1
    assert "Authentication required" in ended.told


def test_a_session_logs_in_again_when_its_token_is_no_longer_taken(site):
    plugin = Password(f"{site.base}/v3", username=site.key, password=site.secret, project_name="demo",
                      user_domain_id="default", project_domain_id="default")  # fmt: skip
    api = client.client(mistral_url=f"{site.base}/v2", session=session.Session(plugin))
    assert isinstance(api.workflows.list(), list)

    first = plugin.auth_ref
    assert first is not None
    first._auth_token = "out-of-date"

    assert isinstance(api.workflows.list(), list)
    assert plugin.auth_ref is not first


def test_the_python_api_takes_a_token_and_headers_of_its_own_change_nothing(site):
    api = client.client(mistral_url=f"{site.base}/v2", auth_token=logged_in(site), project_id="other", user_id="eve")

    made = api.environments.create(name="lo_python", variables={"a": 1})

    assert made.project_id == "demo"


def test_a_token_of_an_issuer_opens_its_realm(site):
    told = {"iss": f"{site.issuer.url}/realms/acme", "realm_access": {"roles": ["member"]}}
    bearer = {"Authorization": f"Bearer {site.issuer.token(**told)}"}
    another = {"X-Auth-Token": site.issuer.token(**told, aud="another")}

    made = requests.post(f"{site.base}/v2/environments", json=ENVIRONMENT, headers=bearer, timeout=30)
    refused = requests.get(f"{site.base}/v2/environments", headers=another, timeout=30)

    assert (made.status_code, made.json()["project_id"]) == (201, "acme")
    assert refused.status_code == 401


def logged_in(site):
    user = {"name": site.key, "password": site.secret, "domain": {"id": "default"}}
    told = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    return requests.post(f"{site.base}/v3/auth/tokens", json=told, timeout=30).headers["X-Subject-Token"]


# -- `openstack`, a program of its own


def openstack(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return subprocess.run(
        [str(BIN / "openstack"), *arguments],
        env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_default_login_of_openstack_works(site):
    told = {"OS_AUTH_URL": f"{site.base}/v3", "OS_PROJECT_NAME": "demo", "OS_USERNAME": site.key}
    told |= {"OS_PASSWORD": site.secret, "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default"}

    ended = openstack("workflow", "list", "-f", "json", **told)
    assert ended.returncode == 0, ended.stderr
    assert {row["Project ID"] for row in json.loads(ended.stdout)} <= {"demo", ""}

    refused = openstack("workflow", "list", **{**told, "OS_PASSWORD": "wrong"})
    assert refused.returncode != 0
    assert "The API key or its secret is wrong." in refused.stderr


def test_openstack_works_with_a_key_alone(site):
    ended = openstack(
        "--os-auth-type", "http_basic", "--os-username", site.key, "--os-password", site.secret,
        "--os-endpoint", f"{site.base}/v2", "workflow", "list", "-f", "json",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
