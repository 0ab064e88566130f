"""The settings of authentication: what makes sense is read, what does not is named."""

import json

import pytest

from chalicelib.errors import MistralError
from chalicelib.services.auth_settings import AuthSettings, Issuer

ISSUER = {"issuer": "https://id.example", "audience": "mistral"}


def read(**environment):
    return AuthSettings.from_environment({f"MISTRAL_{name.upper()}": value for name, value in environment.items()})


def test_without_settings_nobody_is_asked():
    settings = AuthSettings.from_environment({})

    assert (settings.schemes, settings.rate_per_sec, settings.token_secret_id) == (
        frozenset(), 0, "mistral-token-secret"
    )  # fmt: skip


def test_settings_are_read():
    settings = read(
        stage="prod", auth="oidc, keystone", oidc_issuers=json.dumps([ISSUER]), token_lifetime_sec="60",
        rate_per_sec="2.5", table_prefix="mine-", token_secret="x" * 32, keystone_region="eu",
    )  # fmt: skip

    assert settings.schemes == {"oidc", "keystone"}
    assert settings.oidc_issuers == (Issuer("https://id.example", ("mistral",), project_claim="project_id"),)
    assert (settings.token_lifetime_sec, settings.rate_per_sec, settings.rate_burst) == (60, 2.5, 5)
    assert settings.token_secret_id == "mine-token-secret"
    assert "xxx" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"auth": "nothing"}, "MISTRAL_AUTH"),
        ({"auth": ""}, "MISTRAL_AUTH"),
        ({"auth": "none,oidc"}, "MISTRAL_AUTH"),
        ({"auth": "oidc"}, "MISTRAL_OIDC_ISSUERS"),
        ({"oidc_issuers": "{"}, "not JSON"),
        ({"oidc_issuers": "{}"}, "a list"),
        ({"oidc_issuers": json.dumps([ISSUER] * 33)}, "at most 32"),
        ({"token_secret": "short"}, "MISTRAL_TOKEN_SECRET"),
        ({"token_secret": "x" * 32 + " short"}, "MISTRAL_TOKEN_SECRET"),
        ({"token_lifetime_sec": "0"}, "MISTRAL_TOKEN_LIFETIME_SEC"),
        ({"token_lifetime_sec": "86401"}, "MISTRAL_TOKEN_LIFETIME_SEC"),
        ({"token_lifetime_sec": "an hour"}, "MISTRAL_TOKEN_LIFETIME_SEC"),
        ({"rate_per_sec": "-1"}, "MISTRAL_RATE_PER_SEC"),
        ({"rate_per_sec": "nan"}, "MISTRAL_RATE_PER_SEC"),
        ({"rate_burst": "many"}, "MISTRAL_RATE_BURST"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(environment, text):
    with pytest.raises(MistralError, match=text):
        read(**environment)


@pytest.mark.parametrize(
    ("issuer", "text"),
    [
        ("x", "an issuer is an object"),
        ({}, "needs `issuer`"),
        ({"issuer": "https://id.example"}, "needs `audience`"),
        ({**ISSUER, "audience": []}, "needs `audience`"),
        ({**ISSUER, "audience": [5]}, "needs `audience`"),
        ({**ISSUER, "audience": 5}, "needs `audience`"),
        ({**ISSUER, "colour": "blue"}, "has no colour"),
        ({**ISSUER, "roles_claim": 5}, "`roles_claim`"),
        ({**ISSUER, "project_claim": None}, "no realm"),
        ({**ISSUER, "algorithms": ["HS256"]}, "HS256"),
        ({**ISSUER, "algorithms": ["none"]}, "none"),
        ({**ISSUER, "issuer": "https://*.example"}, "only for a realm"),
        ({**ISSUER, "issuer": "https://*.example/realms/*"}, "only for a realm"),
        ({**ISSUER, "issuer": "https://id.example/realms/*", "jwks_uri": "https://id.example/keys"}, "`jwks_uri`"),
        ({**ISSUER, "issuer": "http://id.example"}, "not https"),
        ({**ISSUER, "jwks_uri": "http://id.example/keys"}, "not https"),
        ({**ISSUER, "issuer": "http://127.0.0.1.evil.example"}, "not https"),
    ],
)
def test_an_issuer_that_makes_no_sense_is_named(issuer, text):
    with pytest.raises(MistralError, match=text.replace("*", r"\*")):
        read(oidc_issuers=json.dumps([issuer]))


def test_an_issuer_on_this_machine_needs_no_https_but_only_locally():
    told = json.dumps([{**ISSUER, "issuer": "http://127.0.0.1:8080/realms/demo"}])

    assert read(oidc_issuers=told).oidc_issuers[0].roles_claim == "realm_access.roles"
    with pytest.raises(MistralError, match="not https"):
        read(stage="prod", auth="oidc", oidc_issuers=told)
