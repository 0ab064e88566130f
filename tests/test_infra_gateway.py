"""The gateway of a deployment: Chalice's description of the API, with what is merged into it."""

import json

import pytest
from chalice.deploy.swagger import CFNSwaggerGenerator
from chalice.package import TemplateDeepMerger

import app
from chalicelib.local import authorizing
from infra import gateway, resources


@pytest.fixture(scope="module")
def template():
    """As `chalice package --merge-template` makes it, as far as the API is concerned."""
    described = {
        "Resources": {"RestAPI": {"Properties": {"DefinitionBody": CFNSwaggerGenerator().generate_swagger(app.app)}}}
    }
    return TemplateDeepMerger().merge(resources.template(), described)


@pytest.fixture(scope="module")
def api(template):
    return template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]


def test_the_authorizer_is_given_the_whole_request_and_its_answers_are_not_kept(api):
    defined = api["securityDefinitions"][gateway.AUTHORIZER]

    assert defined["x-amazon-apigateway-authorizer"] == {
        "type": "request",
        "authorizerResultTtlInSeconds": 0,
        "authorizerUri": defined["x-amazon-apigateway-authorizer"]["authorizerUri"],
    }
    assert "Authorizer" in json.dumps(defined["x-amazon-apigateway-authorizer"]["authorizerUri"])
    assert (defined["type"], defined["in"]) == ("apiKey", "header")


def test_every_route_that_is_not_open_names_the_authorizer(api):
    named = {
        (method.upper(), path)
        for path, methods in api["paths"].items()
        for method, described in methods.items()
        if {gateway.AUTHORIZER: []} in described.get("security", [])
    }
    assert named == {(route.method, route.path) for route in app.all_routes() if not route.is_open}
    assert ("GET", "/v2/workflows") in named


def test_the_gateway_refuses_in_the_words_of_mistral(api):
    responses = api["x-amazon-apigateway-gateway-responses"]
    told = {name: json.loads(one["responseTemplates"]["application/json"]) for name, one in responses.items()
            if "$" not in one["responseTemplates"]["application/json"]}  # fmt: skip

    assert (responses["UNAUTHORIZED"]["statusCode"], told["UNAUTHORIZED"]["faultstring"]) == (
        "401", authorizing.UNAUTHORIZED
    )  # fmt: skip
    assert (told["AUTHORIZER_FAILURE"]["faultcode"], responses["AUTHORIZER_FAILURE"]["statusCode"]) == ("Server", "500")
    for one in responses.values():
        for value in one["responseParameters"].values():
            assert value[0] == value[-1] == "'"
            assert "'" not in value[1:-1]
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= responses.keys()


def test_only_the_doors_that_need_it_have_the_secret_and_no_role_may_read_it(template):
    having = {name for name, one in template["Resources"].items() if "MISTRAL_TOKEN_SECRET" in json.dumps(one)}

    assert having == {"APIHandler", "Authorizer"}
    assert template["Resources"][gateway.TOKEN_SECRET]["Properties"]["Name"] == "mistral-token-secret"
    for path in (resources.FILE.parent.parent / ".chalice").glob("policy-*.json"):
        assert "mistral-token-secret" not in path.read_text("utf-8")


def test_a_deployed_stage_is_not_open(template):
    config = json.loads((resources.FILE.parent.parent / ".chalice" / "config.json").read_text("utf-8"))
    for stage in config["stages"].values():
        assert stage["environment_variables"]["MISTRAL_AUTH"] not in ("", "none")
        assert stage["environment_variables"]["MISTRAL_STAGE"] != "local"
