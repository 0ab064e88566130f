"""Which tokens are believed: only those that their issuer signed, for us, and that are of today."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib import limits
from chalicelib.adapters.key_sets import JsonFetcher
from chalicelib.adapters.memory import ManualClock, MemoryTable, SeededEntropy
from chalicelib.errors import IdentityUnavailableException, RateLimitException, UnauthorizedException
from chalicelib.services.api_keys import ApiKeys
from chalicelib.services.auth_settings import AuthSettings
from chalicelib.services.auth_settings import Issuer as Known
from chalicelib.services.authentication import Authentication
from tests.planted import MARK
from tests.unit.services.issuer import AUDIENCE, EC_KEY, OTHER_RSA_KEY, RSA_KEY, issuing, public

SECRET = MARK * 6


@pytest.fixture
def issuer():
    with issuing() as made:
        yield made


def authentication(*issuers, schemes="oidc,keystone,api-key", fetch=None, **settings):
    """On the clock of this moment: PyJWT looks at the real one."""
    clock, table, entropy = ManualClock(time.time()), MemoryTable(), SeededEntropy(7)
    told = AuthSettings(auth=schemes, oidc_issuers=tuple(issuers), **{"token_secret": SECRET, **settings})
    return Authentication(
        told, ApiKeys(table, clock, entropy), table, clock, entropy,
        fetch=fetch or JsonFetcher(allows_http=True), read_secret=lambda name: SECRET,
    )  # fmt: skip


def known(issuer, **more):
    return Known.from_json({"issuer": issuer.url, "audience": AUDIENCE, **more})


def refused(auth, token):
    with pytest.raises(UnauthorizedException) as caught:
        auth.of_token(token)
    return caught.value.message


def test_a_token_of_a_known_issuer_says_who_somebody_is(issuer):
    auth = authentication(known(issuer))
    expires_at = int(time.time()) + 60
    identity = auth.of_token(issuer.token(roles=["member", "admin"], exp=expires_at))
    assert (identity.project_id, identity.user_id, identity.roles, identity.expires_at) == (
        "alpha", "ada", {"member", "admin"}, expires_at
    )  # fmt: skip


@pytest.mark.parametrize(
    "header", [{"x-auth-token": "{}"}, {"authorization": "Bearer {}"}, {"authorization": "bearer  {} "}]
)
def test_a_token_may_come_in_either_header(issuer, header):
    told = {name: value.format(issuer.token()) for name, value in header.items()}
    assert authentication(known(issuer)).identify(told).project_id == "alpha"


def test_an_empty_token_header_is_none_and_a_wrong_one_is_not_passed_over(issuer):
    auth = authentication(known(issuer))
    assert auth.identify({"x-auth-token": "", "authorization": f"Bearer {issuer.token()}"}).user_id == "ada"
    with pytest.raises(UnauthorizedException):
        auth.identify({"x-auth-token": "notused", "authorization": f"Bearer {issuer.token()}"})


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer"}, {"authorization": "Digest abc"}, {"x-auth-token": " "}]
)
def test_a_request_without_a_credential_is_nobodys(issuer, headers):
    with pytest.raises(UnauthorizedException, match="no identity"):
        authentication(known(issuer)).identify(headers)


def test_what_a_client_says_of_itself_in_other_headers_is_not_believed(issuer):
    told = {"x-auth-token": issuer.token(), "x-project-id": "beta", "x-roles": "admin", "x-user-id": "eve"}
    identity = authentication(known(issuer)).identify({**told, "x-identity-status": "Confirmed"})
    assert (identity.project_id, identity.user_id, identity.roles) == ("alpha", "ada", frozenset())


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 3600}, "expired"),
        ({"exp": None}, '"exp"'),
        ({"nbf": NOW + 3600}, "not yet valid"),
        ({"iat": NOW + 3600}, "not yet valid"),
        ({"aud": "another"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": ["another", "third"]}, "audience"),
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"project_id": None}, "no project"),
        ({"project_id": ""}, "no project"),
        ({"project_id": 7}, "no project"),
        ({"project_id": ["a", "b"]}, "several projects"),
        ({"project_id": "x" * 81}, "characters"),
        ({"project_id": "a\nb"}, "characters"),
        ({"exp": "soon"}, "not valid"),
    ],
)
def test_a_token_with_wrong_claims_is_refused_with_the_reason(issuer, claims, reason):
    assert reason in refused(authentication(known(issuer)), issuer.token(**claims))


def test_a_clock_may_differ_a_little(issuer):
    now = int(time.time())
    assert authentication(known(issuer)).of_token(issuer.token(exp=now - 5, nbf=now + 5)).user_id == "ada"


def unsigned(token, **header):
    """The same claims under another header, with no signature."""
    _, payload, _ = token.split(".")
    head = base64.urlsafe_b64encode(json.dumps({"typ": "JWT", "kid": "one", **header}).encode()).decode().rstrip("=")
    return f"{head}.{payload}."


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None, "RS256", "HS256", "XX999", ["RS256"], {}])
def test_a_token_that_nobody_signed_is_refused(issuer, algorithm):
    refused(authentication(known(issuer)), unsigned(issuer.token(), alg=algorithm))


def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(issuer):
    """PyJWT would not make such a token, so it is made by hand."""
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = unsigned(issuer.token(), alg="HS256").rstrip(".")
    for secret in (pem, pem.strip(), json.dumps(public(RSA_KEY, "one")).encode()):
        signature = base64.urlsafe_b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
        assert "not allowed" in refused(authentication(known(issuer)), f"{text}.{signature.rstrip('=')}")


def test_a_symmetric_key_that_an_issuer_publishes_is_no_key(issuer):
    issuer.keys = [{"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("="), "kid": "one"}]
    token = issuer.token(b"k" * 32, algorithm="HS256")
    assert "not allowed" in refused(authentication(known(issuer)), token)
    refused(authentication(known(issuer)), issuer.token())


def test_a_token_that_was_changed_is_refused(issuer):
    head, payload, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "project_id": "beta"}).encode()).decode().rstrip("=")
    auth = authentication(known(issuer))
    assert "Signature" in refused(auth, f"{head}.{other}.{signature}")
    flipped = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
    refused(auth, f"{head}.{payload}.{flipped}")


@pytest.mark.parametrize("token", ["x", "a.b.c", "....", "é" * 10, "e30.e30.e30", "[" * 5000, "\ud800", "W10.W10.W10"])
def test_what_is_no_token_is_refused(issuer, token):
    refused(authentication(known(issuer)), token)


def test_a_huge_token_is_refused_before_it_is_read(issuer):
    assert "longer than" in refused(
        authentication(known(issuer)), issuer.token(padding="x" * limits.TOKEN_CHARACTERS_MAX)
    )
    assert issuer.asked == []


def test_elliptic_keys_work_too_and_a_key_serves_its_own_algorithm_only(issuer):
    issuer.keys = [public(EC_KEY, "two"), public(RSA_KEY, "one", alg="RS256")]
    auth = authentication(known(issuer))
    assert auth.of_token(issuer.token(EC_KEY, "two", "ES256")).user_id == "ada"
    refused(auth, issuer.token(RSA_KEY, "one", "PS256"))
    refused(auth, issuer.token(RSA_KEY, "two", "RS256"))


def test_algorithms_can_be_fewer(issuer):
    auth = authentication(known(issuer, algorithms=["ES256"]))
    assert "not allowed" in refused(auth, issuer.token())


def test_a_token_without_a_key_id_is_verified_if_there_is_one_key_only(issuer):
    auth = authentication(known(issuer))
    assert auth.of_token(issuer.token(kid=None)).user_id == "ada"
    issuer.keys = [public(RSA_KEY, "one"), public(OTHER_RSA_KEY, "two")]
    refused(authentication(known(issuer)), issuer.token(kid=None))


def test_keys_are_fetched_once_and_again_when_they_have_changed(issuer):
    auth = authentication(known(issuer))
    for _ in range(5):
        auth.of_token(issuer.token())
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    issuer.keys = [public(OTHER_RSA_KEY, "new")]
    rotated = issuer.token(OTHER_RSA_KEY, "new")
    with pytest.raises((UnauthorizedException, IdentityUnavailableException)):
        auth.of_token(rotated)  # it was asked just now
    auth._clock.advance(limits.KEY_SET_PAUSE_SEC)
    assert auth.of_token(rotated).user_id == "ada"
    assert "key" in refused(auth, issuer.token())  # the old one is gone


def test_unknown_keys_do_not_make_us_ask_again_and_again(issuer):
    auth = authentication(known(issuer))
    auth.of_token(issuer.token())
    for number in range(20):
        refused(auth, issuer.token(OTHER_RSA_KEY, f"made-up-{number}"))
    assert len(issuer.asked) == 2


def test_an_issuer_that_is_away_is_believed_for_a_while_and_then_nobody_can_tell(issuer):
    auth = authentication(known(issuer))
    auth.of_token(issuer.token())
    issuer.documents["/keys"] = (500, b"")
    auth._clock.advance(limits.KEY_SET_CACHED_SEC + 1)
    assert auth.of_token(issuer.token()).user_id == "ada"
    auth._clock.advance(limits.KEY_SET_STALE_SEC)
    with pytest.raises(IdentityUnavailableException):
        auth.of_token(issuer.token())


@pytest.mark.parametrize(
    "document",
    [
        (200, b"no json"),
        (200, b"[]"),
        (200, b'{"keys": 5}'),
        (200, b"[" * 100_000),
        (302, b""),
        (503, b"{}"),
        (200, b"x" * 300_000),
    ],
    ids=["text", "list", "keys", "deep", "redirect", "status", "huge"],
)
def test_an_answer_that_is_no_set_of_keys_is_the_issuers_fault(issuer, document):
    issuer.documents["/keys"] = document
    with pytest.raises(IdentityUnavailableException):
        authentication(known(issuer)).of_token(issuer.token())


def test_an_issuer_must_say_the_same_of_itself(issuer):
    told = {"issuer": "https://evil.example", "jwks_uri": f"{issuer.url}/keys"}
    issuer.documents["/.well-known/openid-configuration"] = (200, json.dumps(told).encode())
    with pytest.raises(IdentityUnavailableException, match="where its keys are"):
        authentication(known(issuer)).of_token(issuer.token())


def test_the_address_of_the_keys_can_be_given(issuer):
    auth = authentication(known(issuer, jwks_uri=f"{issuer.url}/other/keys"))
    auth.of_token(issuer.token())
    assert issuer.asked == ["/other/keys"]


def test_plain_http_is_for_this_machine_only(issuer):
    auth = authentication(known(issuer), fetch=JsonFetcher())
    with pytest.raises(IdentityUnavailableException, match="not https"):
        auth.of_token(issuer.token())
    assert issuer.asked == []


# -- claims of the usual issuers


def test_keycloaks_realm_is_the_project(issuer):
    realm = Known.from_json({"issuer": f"{issuer.url}/auth/realms/alpha", "audience": AUDIENCE})
    token = issuer.token(iss=realm.issuer, project_id="beta", realm_access={"roles": ["admin", "x"]})
    identity = authentication(realm).of_token(token)
    assert (identity.project_id, identity.roles) == ("alpha", {"admin", "x"})


def test_all_realms_of_a_keycloak_can_be_projects_and_no_realms_admin_is_ours(issuer):
    auth = authentication(Known.from_json({"issuer": f"{issuer.url}/realms/*", "audience": AUDIENCE}))
    for realm in ("alpha", "beta"):
        token = issuer.token(iss=f"{issuer.url}/realms/{realm}", realm_access={"roles": ["admin", "member"]})
        identity = auth.of_token(token)
        assert (identity.project_id, identity.roles) == (realm, {"member"})
    for name in ("../alpha", "a/b", "", "a?b", "%2e", "a" * 81):
        assert "issuer" in refused(auth, issuer.token(iss=f"{issuer.url}/realms/{name}"))
    assert "issuer" in refused(auth, issuer.token(iss=f"{issuer.url}.evil.example/realms/alpha"))


def test_made_up_realms_do_not_flood_their_keycloak(issuer):
    auth = authentication(Known.from_json({"issuer": f"{issuer.url}/realms/*", "audience": AUDIENCE}))
    for number in range(50):
        name = f"/realms/made-up-{number}"
        issuer.documents[f"{name}/.well-known/openid-configuration"] = (404, b"")
        with pytest.raises((UnauthorizedException, IdentityUnavailableException)):
            auth.of_token(issuer.token(iss=issuer.url + name))
    assert len(issuer.asked) <= limits.KEY_SET_FETCHES_BURST + 1


def test_cognitos_access_tokens_name_the_client_and_groups_can_name_the_project(issuer):
    pool = Known.from_json({"issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", "audience": "client1"})
    assert (pool.project_claim, pool.roles_claim, pool.audience_claims) == (
        "custom:project_id", "cognito:groups", ("aud", "client_id")
    )  # fmt: skip
    here = known(
        issuer, audience="client1", audience_claims=["aud", "client_id"], project_claim="cognito:groups",
        project_prefix="project:", roles_claim="cognito:groups", admin_role="operators",
    )  # fmt: skip
    claims = {"aud": None, "client_id": "client1", "project_id": None}
    auth = authentication(here)
    identity = auth.of_token(issuer.token(**claims, **{"cognito:groups": ["project:alpha", "admin", "operators"]}))
    assert (identity.project_id, identity.roles >= {"admin"}) == ("alpha", True)
    identity = auth.of_token(issuer.token(**claims, **{"cognito:groups": ["project:alpha", "admin"]}))
    assert "admin" not in identity.roles
    assert "several" in refused(auth, issuer.token(**claims, **{"cognito:groups": ["project:a", "project:b"]}))


def test_roles_that_could_become_others_on_their_way_are_left_out(issuer):
    identity = authentication(known(issuer)).of_token(issuer.token(roles=["x,admin", "", 5, None, "y"]))
    assert identity.roles == {"y"}


# -- our own tokens


def logged_in(auth, **key):
    made, secret = auth.keys.create("alpha", roles=frozenset({"member"}), **key)
    return made, auth.log_in(made.id, secret)


def test_a_login_gives_a_token_that_is_believed_until_it_ends():
    auth = authentication(token_lifetime_sec=100)
    key, grant = logged_in(auth)
    identity = auth.of_token(grant.token)
    assert (identity.project_id, identity.user_id, identity.roles) == ("alpha", key.id, {"member"})
    assert grant.expires_at - grant.issued_at == 100
    late = authentication()
    late.keys = auth.keys
    old = late._tokens.issue(key.id, "x", issued_at=NOW - 7200, expires_at=NOW - 3600)
    assert "expired" in refused(late, old)


def test_a_login_by_the_token_of_an_issuer_gives_that_token(issuer):
    expires_at = int(time.time()) + 60
    token = issuer.token(exp=expires_at)

    grant = authentication(known(issuer)).log_in_again(token)

    assert (grant.token, grant.expires_at, grant.identity.project_id) == (token, expires_at, "alpha")
    assert token not in repr(grant)


def test_a_token_lives_no_longer_than_its_key():
    auth = authentication(token_lifetime_sec=24 * 3600)
    _, grant = logged_in(auth, days=1)
    assert grant.expires_at - grant.issued_at <= 24 * 3600
    auth._clock.advance(24 * 3600 + 1)
    assert "revoked" in refused(auth, grant.token)


def test_revoking_a_key_ends_its_tokens():
    auth = authentication()
    key, grant = logged_in(auth)
    auth.keys.revoke(key.id)
    assert "revoked" in refused(auth, grant.token)


def test_a_token_that_another_secret_signed_is_refused_and_a_rotation_is_not():
    old, new = "o" * 40, "n" * 40
    before, after = authentication(token_secret=old), authentication(token_secret=f"{new} {old}")
    key, grant = logged_in(before)
    after.keys = before.keys
    assert after.of_token(grant.token).user_id == key.id
    assert (
        jwt.get_unverified_header(after._tokens.issue(key.id, "x", issued_at=NOW, expires_at=NOW + 9))["kid"]
        != jwt.get_unverified_header(grant.token)["kid"]
    )
    gone = authentication(token_secret=new)
    gone.keys = before.keys
    assert "no longer in use" in refused(gone, grant.token)


def test_an_issuer_cannot_make_tokens_of_ours(issuer):
    auth = authentication(known(issuer))
    key, _ = logged_in(auth)
    forged = issuer.token(iss="urn:mistral-serverless", aud="urn:mistral-serverless", sub=key.id)
    refused(auth, forged)


@pytest.mark.parametrize(
    ("schemes", "works"), [("oidc", (True, False)), ("keystone", (False, True)), ("api-key", (False, False))]
)
def test_only_the_schemes_that_are_set_are_believed(issuer, schemes, works):
    full = authentication(known(issuer))
    _, grant = logged_in(full)
    auth = authentication(known(issuer), schemes=schemes)
    auth.keys = full.keys
    for token, expected in zip((issuer.token(), grant.token), works, strict=True):
        if expected:
            auth.of_token(token)
        else:
            refused(auth, token)


# -- keys and secrets


def basic(name, secret):
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_key_and_its_secret_are_an_identity():
    auth = authentication()
    key, secret = auth.keys.create("alpha", roles=frozenset({"admin"}))
    identity = auth.identify(basic(key.id, secret))
    assert (identity.project_id, identity.user_id, identity.roles) == ("alpha", key.id, {"admin"})


@pytest.mark.parametrize("credential", ["Basic", "Basic ???", "Basic YQ==", "Basic //79/g=="])
def test_a_basic_header_that_cannot_be_read_is_refused(credential):
    with pytest.raises(UnauthorizedException):
        authentication().identify({"authorization": credential})


def test_a_wrong_secret_an_unknown_key_and_a_basic_header_where_none_is_wanted_are_refused():
    auth = authentication()
    key, secret = auth.keys.create("alpha")
    for headers in (
        basic(key.id, "wrong"),
        basic(key.id, ""),
        basic("mk-unknown", secret),
        basic(key.id, "x" * 10_000),
    ):
        with pytest.raises(UnauthorizedException, match="wrong"):
            auth.identify(headers)
    other = authentication(schemes="keystone")
    other.keys = auth.keys
    with pytest.raises(UnauthorizedException):
        other.identify(basic(key.id, secret))


def test_guessing_a_secret_is_stopped_for_that_key_and_address():
    auth = authentication()
    key, secret = auth.keys.create("alpha")
    for _ in range(limits.LOGIN_FAILURES_BURST):
        with pytest.raises(UnauthorizedException):
            auth.identify(basic(key.id, "guess"), "192.0.2.1")
    with pytest.raises(RateLimitException) as caught:
        auth.identify(basic(key.id, secret), "192.0.2.1")
    assert 0 < caught.value.retry_after_sec <= 1 / limits.LOGIN_FAILURES_PER_SEC
    assert auth.identify(basic(key.id, secret), "192.0.2.2").user_id == key.id
    auth._clock.advance(1 / limits.LOGIN_FAILURES_PER_SEC)
    assert auth.identify(basic(key.id, secret), "192.0.2.1").user_id == key.id


def test_right_secrets_are_not_counted():
    auth = authentication()
    key, secret = auth.keys.create("alpha")
    for _ in range(3 * limits.LOGIN_FAILURES_BURST):
        assert auth.identify(basic(key.id, secret)).project_id == "alpha"
