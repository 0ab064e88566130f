"""The gateway of a deployment: Chalice's description of the API, with what is merged into it."""

import json

import pytest
from chalice.deploy.swagger import CFNSwaggerGenerator
from chalice.package import TemplateDeepMerger

import app
from chalicelib.local import authorizing
from infra import functions, gateway, resources, roles, signing
from infra.package import names_of


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


def holders(template, variable):
    """The functions that are told a setting."""
    return {
        name
        for name, one in template["Resources"].items()
        if variable in one.get("Properties", {}).get("Environment", {}).get("Variables", {})
    }


def test_only_the_doors_that_need_them_have_the_generated_secrets_and_no_role_may_read_them(template):
    everybody = {functions.function_name(door) for door in roles.statements(roles.Names())}
    assert holders(template, "MISTRAL_TOKEN_SECRET") == {"APIHandler", "Authorizer"}
    assert holders(template, "MISTRAL_WEBHOOK_SECRET") == everybody - {"Authorizer"}
    for secret in signing.secrets(roles.Names()):
        made = template["Resources"][secret.logical]
        assert made["Properties"]["Name"] == f"mistral-{secret.name}"
        assert (made["DeletionPolicy"], made["Properties"]["GenerateSecretString"]["PasswordLength"]) == ("Retain", 64)
        for path in (resources.FILE.parent.parent / ".chalice").glob("policy-*.json"):
            assert secret.name not in path.read_text("utf-8")
        denied = json.dumps(template["Resources"][roles.ACTION_ROLE]["Properties"]["Policies"])
        assert f"secret:mistral-{secret.name}*" in denied


def test_a_secret_for_webhooks_that_the_operator_has_is_not_generated_and_its_arn_may_be_read(tmp_path):
    def made(secret):
        folder = tmp_path / ".chalice"
        folder.mkdir(exist_ok=True)
        stage = {"environment_variables": {"MISTRAL_WEBHOOK_SECRET": secret}}
        (folder / "config.json").write_text(json.dumps({"stages": {"prod": stage}}), "utf-8")
        return resources.template_for(names_of("prod", tmp_path))

    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mistral/webhooks-AbCdEf"
    for given in (arn, "a text of the operator that is long enough"):
        assert holders(made(given), "MISTRAL_WEBHOOK_SECRET") == set()
        assert "MistralWebhookSecret" not in made(given)["Resources"]
    assert arn in json.dumps(made(arn)["Resources"]["ExecutorRole"])


def test_a_deployed_stage_is_not_open(template):
    config = json.loads((resources.FILE.parent.parent / ".chalice" / "config.json").read_text("utf-8"))
    for stage in config["stages"].values():
        assert stage["environment_variables"]["MISTRAL_AUTH"] not in ("", "none")
        assert stage["environment_variables"]["MISTRAL_STAGE"] != "local"
