"""The same deployment for those who use Terraform: a module in JSON that hands the template to CloudFormation.

`make package` writes it beside the package. Terraform uploads package and template, keeps the stack up to date and
knows its outputs; what is in the stack is described once, in the template. Variables, their types, defaults and rules
are those of the template's parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from infra.functions import located

FOLDER: Final = "terraform"
MODULE: Final = "main.tf.json"
ROOT_MODULE: Final = "root.tf.json"
TEMPLATE: Final = "template.json"

TERRAFORM_VERSIONS: Final = ">= 1.3.0"
PROVIDER_VERSIONS: Final = ">= 6.0.0, < 7.0.0"  # the first in which a bucket's own region is `bucket_region`
CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")

# Where the functions find their code; Terraform alone knows that, so these are no variables.
CODE_BUCKET: Final = "CodeBucket"
CODE_KEY: Final = "CodeKey"
_PACKAGE_PATH: Final = "${path.module}/../deployment.zip"
_TEMPLATE_PATH: Final = f"${{path.module}}/{TEMPLATE}"
_OF_CODE: Final[Mapping[str, Mapping[str, str]]] = {
    CODE_BUCKET: {"Type": "String", "Description": "The bucket that the package was uploaded to"},
    CODE_KEY: {"Type": "String", "Description": "What the package is called there"},
}
_TYPES: Final[Mapping[str, str]] = {"String": "string", "Number": "number", "CommaDelimitedList": "list(string)"}
_OUTPUTS: Final[Mapping[str, str]] = {"EndpointURL": "Where the API is"}


def write(made: Mapping[str, Any], folder: Path, *, stack: str, region: str) -> Path:
    """Write the module for a packaged template below the folder that has the package; where it was written."""
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    template = template_with_parameters(made)
    for name, content in {
        TEMPLATE: template,
        MODULE: module(template, stack=stack, region=region),
        ROOT_MODULE: root_module(stack),
    }.items():
        (target / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return target


def template_with_parameters(made: Mapping[str, Any]) -> dict[str, Any]:
    """The packaged template, told by two parameters where the code is."""
    template = located(made, {"Ref": CODE_BUCKET}, {"Ref": CODE_KEY})
    return template | {"Parameters": {**template.get("Parameters", {}), **_OF_CODE}}


def variable_name(parameter: str) -> str:
    """A parameter's or an output's name in Terraform's spelling."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", parameter).lower()


def module(template: Mapping[str, Any], *, stack: str, region: str) -> dict[str, Any]:
    """The module: variables, the two uploads, the stack, outputs."""
    parameters = {name: one for name, one in template["Parameters"].items() if name not in _OF_CODE}
    return {
        "//": "Made by `make package`; docs/deployment.md says how it is used. Changes here are lost.",
        "terraform": {
            "required_version": TERRAFORM_VERSIONS,
            "required_providers": {"aws": {"source": "hashicorp/aws", "version": PROVIDER_VERSIONS}},
        },
        "variable": _own_variables(stack, region)
        | {variable_name(name): _variable(name, parameter) for name, parameter in parameters.items()},
        "data": {"aws_s3_bucket": {"code": {"bucket": "${var.code_bucket}"}}},
        "resource": {
            "aws_s3_object": {
                "package": _upload(_PACKAGE_PATH, "zip", "application/zip"),
                "template": _upload(_TEMPLATE_PATH, "json", "application/json"),
            },
            "aws_cloudformation_stack": {"mistral": _stack(parameters)},
        },
        "output": {variable_name(name): _output(name) for name in template.get("Outputs", {})},
    }


def root_module(stack: str) -> dict[str, Any]:
    """What is needed where the module is not a part of another one: the provider, and a state outside of `dist`."""
    return {
        "//": "Remove this file where the module is used by another one, which then has the provider and the state.",
        "terraform": {"backend": {"local": {"path": f"../../../{stack}.tfstate"}}},
        "provider": {"aws": {"region": "${var.region}"}},
    }


def _own_variables(stack: str, region: str) -> dict[str, Any]:
    return {
        "region": {"type": "string", "description": "Where it is deployed", "default": region, "nullable": False},
        "code_bucket": {
            "type": "string",
            "description": "A bucket of yours in that region, for package and template",
            "nullable": False,
        },
        "stack_name": {
            "type": "string",
            "description": "What the CloudFormation stack is called",
            "default": stack,
            "nullable": False,
        },
        "tags": {
            "type": "map(string)",
            "description": "Tags of the stack, which CloudFormation puts on everything in it",
            "default": {},
            "nullable": False,
        },
    }


def _variable(name: str, parameter: Mapping[str, Any]) -> dict[str, Any]:
    kind = _TYPES[parameter["Type"]]
    made: dict[str, Any] = {"type": kind, "description": parameter["Description"], "nullable": False}
    if "Default" in parameter:
        made["default"] = _default(kind, parameter["Default"])
    rules = _rules(f"var.{variable_name(name)}", kind, parameter)
    if rules:
        made["validation"] = [
            {"condition": f"${{{condition}}}", "error_message": message} for condition, message in rules
        ]
    return made


def _default(kind: str, value: Any) -> Any:
    return [part for part in value.split(",") if part] if kind == "list(string)" else value


def _rules(variable: str, kind: str, parameter: Mapping[str, Any]) -> list[tuple[str, str]]:
    rules = []
    if "AllowedValues" in parameter:
        allowed = json.dumps(parameter["AllowedValues"])
        rules.append((f"contains({allowed}, {variable})", f"It is one of {allowed[1:-1]}."))
    if "MinValue" in parameter:
        rules.append((f"{variable} >= {parameter['MinValue']}", f"It is at least {parameter['MinValue']}."))
    if "MaxValue" in parameter:
        rules.append((f"{variable} <= {parameter['MaxValue']}", f"It is at most {parameter['MaxValue']}."))
    if "AllowedPattern" in parameter:
        pattern = json.dumps(parameter["AllowedPattern"])
        one = f"can(regex({pattern}, each))" if kind == "list(string)" else f"can(regex({pattern}, {variable}))"
        condition = f"alltrue([for each in {variable} : {one}])" if kind == "list(string)" else one
        rules.append((condition, f"It is {parameter['ConstraintDescription']}."))
    return rules


def _upload(path: str, suffix: str, content_type: str) -> dict[str, Any]:
    return {
        "bucket": "${data.aws_s3_bucket.code.bucket}",
        # By its content: a new package is a new object, which CloudFormation notices.
        "key": f'${{var.stack_name}}/${{filesha256("{path}")}}.{suffix}',
        "source": path,
        "source_hash": f'${{filesha256("{path}")}}',
        "content_type": content_type,
        # What an update replaces must be there until it has succeeded: CloudFormation may have to go back to it.
        "lifecycle": {"create_before_destroy": True},
    }


def _stack(parameters: Mapping[str, Any]) -> dict[str, Any]:
    code = {CODE_BUCKET: "${aws_s3_object.package.bucket}", CODE_KEY: "${aws_s3_object.package.key}"}
    return {
        "name": "${var.stack_name}",
        "template_url": "https://${data.aws_s3_bucket.code.bucket_regional_domain_name}/${aws_s3_object.template.key}",
        "parameters": code | {name: _argument(name, one) for name, one in parameters.items()},
        "capabilities": list(CAPABILITIES),
        "tags": "${var.tags}",
        "timeouts": {"create": "30m", "update": "60m", "delete": "30m"},
        "lifecycle": {
            "precondition": [
                {
                    "condition": "${data.aws_s3_bucket.code.bucket_region == var.region}",
                    "error_message": "Lambda takes its code from a bucket of its own region only: choose another one.",
                }
            ]
        },
    }


def _argument(name: str, parameter: Mapping[str, Any]) -> str:
    """CloudFormation takes texts only."""
    variable = f"var.{variable_name(name)}"
    match _TYPES[parameter["Type"]]:
        case "list(string)":
            return f'${{join(",", {variable})}}'
        case "number":
            return f"${{tostring({variable})}}"
        case _:
            return f"${{{variable}}}"


def _output(name: str) -> dict[str, Any]:
    told = {"description": _OUTPUTS[name]} if name in _OUTPUTS else {}
    return told | {"value": f"${{aws_cloudformation_stack.mistral.outputs.{name}}}"}
