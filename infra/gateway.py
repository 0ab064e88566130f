"""What Chalice cannot say of API Gateway: an authorizer that sees the whole request, and errors in Mistral's words.

Merged into the template like the rest of ``resources``. Chalice's own authorizers are given one header; ours looks at
two. Without these gateway responses clients would be answered `{"message": …}`, of which `mistral` shows nothing.
"""

from __future__ import annotations

import json
from typing import Any, Final

from chalicelib.local.authorizing import DENIED, FAILED, UNAUTHORIZED

AUTHORIZER: Final = "authorizer"
_STAGE: Final = (
    "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${RestAPI}/stages/${RestAPI.Stage}"  # as SAM names it
)
_THEIR_WORDS: Final = "$context.error.messageString"

# By API Gateway's names: the status, and our words or its own.
_RESPONSES: Final = {
    "UNAUTHORIZED": (401, UNAUTHORIZED),
    "ACCESS_DENIED": (403, DENIED),
    "AUTHORIZER_FAILURE": (500, FAILED),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, FAILED),
    "MISSING_AUTHENTICATION_TOKEN": (404, "No such resource. The API begins at /v2."),
    "REQUEST_TOO_LARGE": (413, "The request body is larger than 10485760 bytes; send a smaller one."),
    "THROTTLED": (429, "Too many requests at this moment; try again in a second."),
    "QUOTA_EXCEEDED": (429, "Too many requests; try again later."),
    "INTEGRATION_TIMEOUT": (
        504,
        "The service did not answer in time; what was asked for may have been done all the same.",
    ),
    "DEFAULT_4XX": (None, None),
    "DEFAULT_5XX": (None, None),
}


def resources() -> dict[str, Any]:
    """The API and its authorizer."""
    return {
        "RestAPI": {
            "Properties": {
                "TracingEnabled": True,
                "MethodSettings": [
                    {
                        "HttpMethod": "*",
                        "ResourcePath": "/*",
                        "MetricsEnabled": True,
                        "ThrottlingRateLimit": {"Ref": "ApiRatePerSec"},
                        "ThrottlingBurstLimit": {"Ref": "ApiBurst"},
                    }
                ],
                "DefinitionBody": {
                    "securityDefinitions": {
                        AUTHORIZER: {
                            "name": "Unused",
                            "x-amazon-apigateway-authorizer": {"type": "request", "authorizerResultTtlInSeconds": 0},
                        }
                    },
                    "x-amazon-apigateway-gateway-responses": {
                        name: _response(status, text) for name, (status, text) in _RESPONSES.items()
                    },
                },
            }
        },
        "MistralWebAcl": {
            "Type": "AWS::WAFv2::WebACLAssociation",
            "Condition": "HasWebAcl",
            "Properties": {
                "ResourceArn": {"Fn::Sub": _STAGE},
                "WebACLArn": {"Ref": "WebAclArn"},
            },
        },
    }


def _response(status: int | None, text: str | None) -> dict[str, Any]:
    headers = {"Access-Control-Allow-Origin": "*"}
    if text is not None:
        headers["Server-Error-Message"] = text
    if status == 401:
        headers["WWW-Authenticate"] = "Keystone"
    if status == 429:
        headers["Retry-After"] = "1"
    words = _THEIR_WORDS if text is None else json.dumps(text)
    side = "Server" if status is not None and status >= 500 else "Client"
    response: dict[str, Any] = {
        "responseParameters": {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()},
        "responseTemplates": {
            "application/json": f'{{"faultcode": "{side}", "faultstring": {words}, "debuginfo": null}}'
        },
    }
    return response if status is None else {"statusCode": str(status), **response}
