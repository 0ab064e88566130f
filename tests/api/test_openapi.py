"""The description of the API: it is valid, it is complete, and it says what the routes do."""

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import app
from chalicelib.api.about import Accepted, Shown
from chalicelib.api.http import Body
from chalicelib.api.openapi import PATH, document, statuses_of
from chalicelib.api.policies import Who, policies_of
from tests.api.service_client import Client

ROUTES = app.all_routes()
DESCRIBED = document(ROUTES)
TAKES_JSON = [route for route in ROUTES if route.body is Body.JSON]


def label(route):
    return f"{route.method} {route.path}"


def operation(route):
    return DESCRIBED["paths"][route.path][route.method.lower()]


@pytest.fixture(scope="module")
def admin():
    return Client(auth="authorizer", claims={"project_id": "here", "roles": "admin"})


def test_the_description_is_valid():
    OpenAPIV31SpecValidator(DESCRIBED).validate()


@pytest.mark.parametrize("route", ROUTES, ids=label)
def test_every_route_says_what_it_is_for_and_what_it_answers(route):
    assert route.about is not None, "give the Route an `about=`: chalicelib/api/about.py makes one in a line"
    assert route.about.summary.endswith((".", "`force`."))
    if route.body is Body.JSON:
        assert route.about.accepts is not None, "say what the JSON body may hold"
    if route.about.status != 204:
        assert route.about.answer is not None, "say what the answer is"


def test_every_route_is_described_once():
    described = {(method.upper(), path) for path, item in DESCRIBED["paths"].items() for method in item}
    names = [one["operationId"] for item in DESCRIBED["paths"].values() for one in item.values()]

    assert described == {(route.method, route.path) for route in ROUTES}
    assert len(set(names)) == len(names)


def test_the_service_gives_its_description_with_its_own_address(admin):
    given = admin.get(PATH).json

    assert given["servers"] == [{"url": "http://mistral.test"}]
    assert {**given, "servers": DESCRIBED["servers"]} == json.loads(json.dumps(DESCRIBED))


@pytest.mark.parametrize("route", [one for one in ROUTES if one.arguments is not None], ids=label)
def test_exactly_the_query_arguments_that_are_known_are_described(route):
    described = {one["name"] for one in operation(route)["parameters"] if one["in"] == "query"}

    assert described == set(route.arguments)


@pytest.mark.parametrize("route", ROUTES, ids=label)
def test_every_parameter_of_a_path_is_described(route):
    described = [one["name"] for one in operation(route)["parameters"] if one["in"] == "path"]

    assert described == [part.strip("{}+") for part in route.path.split("/") if part.startswith("{")]


@pytest.mark.parametrize("route", TAKES_JSON, ids=label)
def test_exactly_the_attributes_that_are_known_are_described(admin, route):
    if not isinstance(route.about.accepts, Accepted):
        return
    path = "/".join(
        "11111111-1111-4111-8111-111111111111" if part[:1] == "{" else part for part in route.path.split("/")
    )

    def fault_of(name):
        return admin.ask(route.method, path, {name: None}).json.get("faultstring", "")

    assert "Unknown attribute" in fault_of("never_heard_of") or "not found" in fault_of("never_heard_of")
    assert [name for name in route.about.accepts.names if "nknown attribute" in fault_of(name)] == []
    assert [name for name in route.about.accepts.names if "read only" in fault_of(name)] == []


@pytest.mark.parametrize("route", ROUTES, ids=label)
def test_who_needs_no_credentials_is_told_so(route):
    is_public = any(policy.who is Who.ANYONE for policy in policies_of(route.method, route.path))

    assert ("security" in operation(route)) is is_public


@pytest.mark.parametrize("route", ROUTES, ids=label)
def test_every_error_is_described_with_a_schema(route):
    answers = operation(route)["responses"]

    for status in statuses_of(route):
        name = answers[str(status)]["$ref"].rpartition("/")[2]
        schema = DESCRIBED["components"]["responses"][name]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Error"}


def test_an_answer_has_the_fields_of_its_resource():
    for route in ROUTES:
        if route.about is not None and isinstance(route.about.answer, Shown):
            resource = route.about.answer.resource
            found = [schema for schema in DESCRIBED["components"]["schemas"].values()
                     if list(schema["properties"]) == [field.name for field in resource.shown]]  # fmt: skip
            assert found, resource.title
