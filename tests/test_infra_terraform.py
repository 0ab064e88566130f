"""The Terraform module: the same stack; its variables are the template's parameters, its references lead somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]

from infra import terraform
from infra.package import PACKAGE
from infra.parameters import PARAMETERS
from tests.deployed import NoManagedPolicies, packaged_template

OWN_VARIABLES = {"region", "code_bucket", "stack_name", "tags"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("dist")
    (target / PACKAGE).write_bytes(b"a package")
    return terraform.write(packaged_template(), target, stack="mistral-prod", region="eu-west-1")


@pytest.fixture(scope="module")
def module(folder):
    return json.loads((folder / terraform.MODULE).read_text("utf-8"))


@pytest.fixture(scope="module")
def template(folder):
    return json.loads((folder / terraform.TEMPLATE).read_text("utf-8"))


def stack(module):
    return module["resource"]["aws_cloudformation_stack"]["mistral"]


def texts(value):
    """All texts anywhere in it."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def test_every_parameter_of_the_template_is_a_variable_and_the_other_way_round(module, template):
    variables = {terraform.variable_name(name) for name in PARAMETERS}
    assert variables == module["variable"].keys() - OWN_VARIABLES
    given = stack(module)["parameters"]
    assert given.keys() == template["Parameters"].keys()
    for name in PARAMETERS:
        assert re.findall(r"var\.(\w+)", given[name]) == [terraform.variable_name(name)]
    assert {name: given[name] for name in given.keys() - PARAMETERS.keys()} == {
        "CodeBucket": "${aws_s3_object.package.bucket}",
        "CodeKey": "${aws_s3_object.package.key}",
    }


def test_a_variable_has_the_type_the_default_and_the_rules_of_its_parameter(module):
    days = module["variable"]["log_retention_days"]
    assert (days["type"], days["default"], days["nullable"]) == ("number", 30, False)
    [rule] = days["validation"]
    assert rule["condition"].startswith("${contains([1, 3, 5,")
    assert module["variable"]["action_policy_arns"]["type"] == "list(string)"
    assert module["variable"]["action_policy_arns"]["default"] == []
    bounds = [rule["condition"] for rule in module["variable"]["executor_concurrency"]["validation"]]
    assert bounds == ["${var.executor_concurrency >= 2}", "${var.executor_concurrency <= 1000}"]
    for name, parameter in PARAMETERS.items():
        made = module["variable"][terraform.variable_name(name)]
        assert made["description"] == parameter["Description"]
        ruled = {"AllowedValues", "MinValue", "MaxValue", "AllowedPattern"} & parameter.keys()
        assert len(made.get("validation", [])) == len(ruled)
    assert "default" not in module["variable"]["code_bucket"]


def test_a_pattern_takes_what_is_meant_and_nothing_else():
    key = PARAMETERS["KmsKeyArn"]["AllowedPattern"]
    assert all(re.search(key, good) for good in ("", "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1"))
    assert not any(re.search(key, bad) for bad in ("key", "arn:aws:kms:us-east-1:123456789012:alias/mine"))
    acl = PARAMETERS["WebAclArn"]["AllowedPattern"]
    assert re.search(acl, "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/mine/0a")
    assert not re.search(acl, "arn:aws:wafv2:us-east-1:123456789012:global/webacl/mine/0a")


def test_every_reference_leads_to_something(module, folder):
    known = {f"var.{name}" for name in module["variable"]}
    known |= {f"data.{kind}.{name}" for kind, named in module["data"].items() for name in named}
    known |= {f"{kind}.{name}" for kind, named in module["resource"].items() for name in named}
    root = json.loads((folder / terraform.ROOT_MODULE).read_text("utf-8"))
    pattern = r"\b(var\.\w+|data\.\w+\.\w+|(?<![.\w])aws_\w+\.\w+)"
    interpolated = [part for text in texts([module, root]) for part in re.findall(r"\$\{[^}]*\}", text)]
    named = {found for part in interpolated for found in re.findall(pattern, part)}
    assert named <= known
    assert {name for name in known if name.startswith("var.")} <= named


def test_every_attribute_is_one_that_the_provider_has(module):
    """As of version 6.25 of the provider."""
    meta = {"lifecycle", "timeouts"}
    assert stack(module).keys() - meta <= {"name", "template_url", "parameters", "capabilities", "tags"}
    for each in module["resource"]["aws_s3_object"].values():
        assert each.keys() - meta <= {"bucket", "key", "source", "source_hash", "content_type"}
    read = {found for text in texts(module) for found in re.findall(r"data\.aws_s3_bucket\.code\.(\w+)", text)}
    assert read == {"bucket", "bucket_region", "bucket_regional_domain_name"}


def test_the_stack_may_do_what_the_template_needs(module, template):
    assert set(stack(module)["capabilities"]) == {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"}
    assert template["Transform"] == "AWS::Serverless-2016-10-31"


def test_every_output_of_the_stack_is_one_of_the_module(module, template):
    told = {output["value"].rpartition(".")[2].rstrip("}") for output in module["output"].values()}
    assert told == template["Outputs"].keys()
    assert {"endpoint_url", "rest_api_id", "api_handler_arn"} <= module["output"].keys()


def test_a_new_package_is_a_new_object_that_replaces_the_old_one_only_afterwards(module, folder):
    for each in module["resource"]["aws_s3_object"].values():
        path = each["source"].replace("${path.module}", str(folder))
        assert Path(path).exists()
        assert f'filesha256("{each["source"]}")' in each["key"]
        assert each["source_hash"] == f'${{filesha256("{each["source"]}")}}'
        assert each["lifecycle"] == {"create_before_destroy": True}


def test_the_provider_has_an_upper_and_a_lower_bound(module):
    [provider] = module["terraform"]["required_providers"].values()
    assert (provider["source"], provider["version"]) == ("hashicorp/aws", ">= 6.0.0, < 7.0.0")


def test_provider_and_state_stand_apart_and_the_state_outside_of_what_is_cleaned_away(module, folder):
    root = json.loads((folder / terraform.ROOT_MODULE).read_text("utf-8"))
    assert root["provider"] == {"aws": {"region": "${var.region}"}}
    assert "provider" not in module
    assert "backend" not in module["terraform"]
    state = Path("dist/prod/terraform") / root["terraform"]["backend"]["local"]["path"]
    assert os.path.normpath(state) == "mistral-prod.tfstate"


def test_the_functions_are_told_by_parameters_where_their_code_is(template):
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}):
        expanded = transform(template, {}, NoManagedPolicies())
    codes = [
        one["Properties"]["Code"] for one in expanded["Resources"].values() if one["Type"] == "AWS::Lambda::Function"
    ]
    assert codes == [{"S3Bucket": {"Ref": "CodeBucket"}, "S3Key": {"Ref": "CodeKey"}}] * 7


def test_the_template_for_terraform_is_the_other_one_but_for_the_code(template):
    assert without_code(template) == without_code(packaged_template())


def without_code(template):
    """The resources, but for where the functions' code is."""
    return {
        name: {**one, "Properties": {key: value for key, value in one["Properties"].items() if key != "CodeUri"}}
        for name, one in template["Resources"].items()
    }


def test_the_template_for_terraform_has_no_finding(folder):
    program = Path(sys.executable).with_name("cfn-lint")
    command = [str(program), "--non-zero-exit-code", "informational", str(folder / terraform.TEMPLATE)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
