"""Who comes in: nobody without a credential, but for what is open; and everybody only as who they are."""

import re

import pytest

import app as doors
from chalicelib import limits, wiring
from chalicelib.api.authorizer import Refused
from chalicelib.errors import IdentityUnavailableException
from chalicelib.services.authentication import Authentication
from tests.api.guarded import Guarded, basic

ROUTES = doors.all_routes()
OPEN = {
    ("GET", "/"),
    ("GET", "/v2"),
    ("GET", "/info"),
    ("GET", "/healthcheck"),
    ("GET", "/v3"),
    ("POST", "/v3/auth/tokens"),
    ("POST", "/realms/{realm}/protocol/openid-connect/token"),
    # The token in the path is the credential.
    ("GET", "/v2/webhooks/{token}"),
    ("POST", "/v2/webhooks/{token}"),
}


def label(route):
    return f"{route.method} {route.path}"


def path_of(route):
    return re.sub(r"{\w+\+?}", "11111111-1111-4111-8111-111111111111", route.path)


@pytest.fixture(scope="module")
def shared():
    return Guarded()


@pytest.fixture
def guarded():
    return Guarded()


@pytest.mark.parametrize("route", ROUTES, ids=label)
def test_without_a_credential_every_route_is_closed_but_for_those_that_are_open(shared, route):
    reply = shared.ask(route.method, path_of(route))

    assert (reply.status == 401) is ((route.method, route.path) not in OPEN)
    if reply.status == 401:
        assert reply.headers["Server-Error-Message"] == reply.fault
        assert reply.headers["WWW-Authenticate"] == 'Keystone uri="http://mistral.test/v3"'


@pytest.mark.parametrize("route", ROUTES, ids=label)
@pytest.mark.parametrize(
    "headers",
    [
        {"x-auth-token": "notused"},
        {"x-auth-token": "", "x-project-id": "alpha", "x-roles": "admin", "x-identity-status": "Confirmed"},
        {"authorization": "Basic bWstbm9ib2R5OnNlY3JldA=="},
        {"authorization": "Bearer e30.e30.e30"},
    ],
    ids=["token", "claims", "basic", "bearer"],
)
def test_with_a_wrong_credential_it_is_the_same(shared, route, headers):
    if (route.method, route.path) not in OPEN:
        assert shared.ask(route.method, path_of(route), **headers).status == 401


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_a_browser_may_ask_what_it_may_ask_without_a_credential(shared, path):
    assert shared.ask("OPTIONS", re.sub(r"{\w+\+?}", "x", path)).status in (200, 405)


def test_every_route_of_the_deployed_app_has_the_authorizer_unless_it_is_open():
    registered = {
        (method, path) for path, methods in doors.app.routes.items() for method, entry in methods.items()
        if entry.authorizer is None and method != "OPTIONS"
    }  # fmt: skip

    assert registered == OPEN
    assert {entry.authorizer for methods in doors.app.routes.values() for entry in methods.values()} == {
        None,
        doors.authorizer,
    }


def test_the_app_itself_does_not_believe_a_request_that_no_authorizer_has_seen(guarded):
    for methods in guarded.app.routes.values():
        for entry in methods.values():
            entry.authorizer = None

    reply = guarded.ask("GET", "/v2/workflows", **basic(*guarded.key("alpha")))

    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == 'Keystone uri="http://mistral.test/v3"'


def test_a_caller_works_in_the_project_of_the_credential_whatever_the_headers_say(guarded):
    alpha, beta = basic(*guarded.key("alpha")), basic(*guarded.key("beta"))
    text = "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n"

    made = guarded.ask("POST", "/v2/workflows", text, **alpha, **{"x-project-id": "beta", "x-roles": "admin"})

    assert made.json["workflows"][0]["project_id"] == "alpha"
    assert guarded.ask("GET", "/v2/workflows", **{**beta, "x-project-id": "alpha"}).json["workflows"] == []
    assert guarded.ask("GET", f"/v2/workflows/{made.json['workflows'][0]['id']}", **beta).status == 404


def test_who_is_known_and_may_not_is_refused_with_403(guarded):
    member, admin = basic(*guarded.key("alpha")), basic(*guarded.key("alpha", "admin"))
    text = "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}\n"

    assert guarded.ask("POST", "/v2/workflows?scope=public", text, **member).status == 403
    assert guarded.ask("POST", "/v2/workflows?scope=public", text, **admin).status == 201


def test_a_revoked_key_opens_nothing(guarded):
    key_id, secret = guarded.key("alpha")
    token = guarded.log_in(key_id, secret).headers["X-Subject-Token"]
    assert guarded.ask("GET", "/v2/workflows", **{"x-auth-token": token}).status == 200

    guarded.container.authentication.keys.revoke(key_id)

    assert guarded.ask("GET", "/v2/workflows", **{"x-auth-token": token}).status == 401
    assert guarded.ask("GET", "/v2/workflows", **basic(key_id, secret)).status == 401


def test_a_secret_that_is_guessed_too_often_is_not_looked_at_any_more(guarded):
    key_id, secret = guarded.key("alpha")
    for _ in range(limits.LOGIN_FAILURES_BURST):
        assert guarded.log_in(key_id, "guess").status == 401

    reply = guarded.log_in(key_id, secret)

    assert reply.status == 429
    assert 1 <= int(reply.headers["Retry-After"]) <= 10
    assert guarded.ask("GET", "/v2/workflows", **basic(key_id, secret)).status == 401
    guarded.clock.advance(10)
    assert guarded.log_in(key_id, secret).status == 201


def test_an_issuer_that_does_not_answer_is_no_fault_of_the_caller(guarded, monkeypatch):
    def fail(*_arguments):
        raise IdentityUnavailableException("away")

    monkeypatch.setattr(Authentication, "of_token", fail)

    reply = guarded.ask("GET", "/v2/workflows", **{"x-auth-token": "x"})

    assert (reply.status, reply.json["faultcode"]) == (500, "Server")
    assert "try again later" in reply.fault


def test_the_authorizer_tells_the_gateway_by_the_word_it_knows():
    with pytest.raises(Refused) as caught:
        raise Refused
    assert str(caught.value) == "Unauthorized"


def test_with_none_the_authorizer_lets_everybody_pass_as_nobody(monkeypatch):
    monkeypatch.setenv("MISTRAL_AUTH", "none")
    wiring.authentication.cache_clear()
    event = {"type": "REQUEST", "methodArn": "arn:aws:execute-api:r:1:api/stage/GET/v2/x", "headers": None}

    policy = doors.authorizer(event, None)

    assert policy["context"] == {}
    assert policy["policyDocument"]["Statement"][0]["Resource"] == ["arn:aws:execute-api:r:1:api/stage/*"]


# -- Keystone's login


def test_the_version_of_keystone_is_where_clients_look_for_it(guarded):
    for path in ("/v3", "/v3/"):
        version = guarded.ask("GET", path).json["version"]
        assert (version["id"], version["status"]) == ("v3.14", "stable")
        assert version["links"] == [{"rel": "self", "href": "http://mistral.test/v3/"}]


def test_a_login_gives_token_project_and_catalog(guarded):
    key_id, secret = guarded.key("alpha", "admin")

    reply = guarded.log_in(key_id, secret, scope={"project": {"name": "alpha", "domain": {"id": "default"}}})

    assert reply.status == 201
    token = reply.json["token"]
    assert (token["user"]["id"], token["project"]["id"], token["methods"]) == (key_id, "alpha", ["password"])
    assert token["roles"] == [{"id": "admin", "name": "admin"}]
    (service,) = (service for service in token["catalog"] if service["type"] == "workflowv2")
    public = {one["interface"]: one["url"] for one in service["endpoints"]}
    assert public["public"] == "http://mistral.test/v2"
    assert reply.headers["Cache-Control"] == "no-store"
    listed = guarded.ask("GET", "/v2/workflows", **{"x-auth-token": reply.headers["X-Subject-Token"]})
    assert listed.status == 200


def test_a_login_by_id_without_a_scope_works_too_and_the_catalog_can_be_left_out(guarded):
    key_id, secret = guarded.key("alpha")
    user = {"id": key_id, "password": secret}
    told = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}

    reply = guarded.ask("POST", "/v3/auth/tokens?nocatalog", told)

    assert (reply.status, reply.json["token"]["catalog"]) == (201, [])


def test_a_token_is_as_good_as_a_password_and_lives_no_longer_by_it(guarded):
    key_id, secret = guarded.key("alpha")
    first = guarded.log_in(key_id, secret)
    identity = {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}}

    guarded.clock.advance(5)
    again = guarded.ask("POST", "/v3/auth/tokens", {"auth": {"identity": identity}})

    assert again.status == 201
    assert again.headers["X-Subject-Token"] == first.headers["X-Subject-Token"]
    assert again.json["token"]["expires_at"] == first.json["token"]["expires_at"]


@pytest.mark.parametrize(
    "scope", [{"project": {"name": "beta"}}, {"project": {"id": "beta"}}, {"domain": {"id": "default"}}, {"system": {}}]
)
def test_a_login_for_another_project_is_refused(guarded, scope):
    reply = guarded.log_in(*guarded.key("alpha"), scope=scope)

    assert (reply.status, reply.json["error"]["code"]) == (401, 401)
    assert reply.json["error"]["message"] == reply.fault == reply.headers["Server-Error-Message"]
    assert "X-Subject-Token" not in reply.headers


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"\xff", {}, {"auth": 5}, {"auth": {}}, {"auth": {"identity": []}},
        {"auth": {"identity": {"methods": ["totp"]}}}, {"auth": {"identity": {"methods": "password"}}},
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": 5, "password": "x"}}}}},
        {"auth": {"identity": {"methods": ["password"], "password": {}}}},
        {"auth": {"identity": {"methods": ["token"], "token": {"id": None}}}},
    ],
)  # fmt: skip
def test_a_login_that_makes_no_sense_is_refused_in_keystones_words(guarded, body):
    reply = guarded.ask("POST", "/v3/auth/tokens", body)

    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["title"]) == (400, 400, "Bad Request")


@pytest.mark.parametrize("password", ["wrong", "", "\ud800", "x" * 100_000])
def test_a_wrong_password_and_an_unknown_user_are_told_apart_by_nobody(guarded, password):
    key_id, _ = guarded.key("alpha")

    wrong, unknown = guarded.log_in(key_id, password), guarded.log_in("mk-nobody", password)

    assert (wrong.status, wrong.json) == (401, unknown.json)


def test_there_are_no_logins_unless_they_are_switched_on():
    guarded = Guarded("api-key")

    assert guarded.ask("GET", "/v3").status == 404
    assert guarded.log_in(*guarded.key("alpha")).status == 404
    assert guarded.ask("POST", "/realms/alpha/protocol/openid-connect/token", "grant_type=password").status == 404


# -- Keycloak's login


def openid(guarded, realm="alpha", **form):
    body = "&".join(f"{name}={value}" for name, value in form.items())
    path = f"/realms/{realm}/protocol/openid-connect/token"
    return guarded.ask("POST", path, body, **{"content-type": "application/x-www-form-urlencoded"})


def test_keycloaks_login_gives_an_access_token(guarded):
    key_id, secret = guarded.key("alpha")
    for form in (
        {"grant_type": "password", "username": key_id, "password": secret, "client_id": "x", "scope": "profile"},
        {"grant_type": "client_credentials", "client_id": key_id, "client_secret": secret},
    ):
        reply = openid(guarded, **form)
        assert (reply.status, reply.json["token_type"], reply.json["expires_in"]) == (200, "Bearer", 3600)
        token = reply.json["access_token"]
        assert guarded.ask("GET", "/v2/workflows", authorization=f"Bearer {token}").status == 200


def test_keycloaks_login_is_for_the_realm_of_the_key(guarded):
    key_id, secret = guarded.key("alpha")

    reply = openid(guarded, "beta", grant_type="password", username=key_id, password=secret)

    assert (reply.status, reply.json["error"]) == (401, "invalid_grant")


@pytest.mark.parametrize(
    "form", [{}, {"grant_type": "refresh_token"}, {"grant_type": "password"}, {f"a{n}": 1 for n in range(50)}]
)
def test_a_form_that_makes_no_sense_is_refused_in_keycloaks_words(guarded, form):
    reply = openid(guarded, **form)

    assert (reply.status, reply.json["error"]) == (400, "invalid_request")


# -- how often


def test_a_project_that_asks_too_often_has_to_wait_and_another_has_not():
    guarded = Guarded(rate_per_sec=2.0, rate_burst=4)
    alpha, beta = basic(*guarded.key("alpha")), basic(*guarded.key("beta"))

    statuses = [guarded.ask("GET", "/v2/workflows", **alpha).status for _ in range(6)]
    reply = guarded.ask("GET", "/v2/workflows", **alpha)

    assert statuses == [200] * 4 + [429] * 2
    assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
    assert "more requests" in reply.fault
    assert guarded.ask("GET", "/v2/workflows", **beta).status == 200
    assert guarded.ask("GET", "/").status == 200
    guarded.clock.advance(0.5)
    assert guarded.ask("GET", "/v2/workflows", **alpha).status == 200
