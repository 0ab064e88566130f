"""What an operator may choose when the stack is deployed; every choice has a safe default.

`python -m infra.deploy … --parameter NAME=VALUE` sets one; an update keeps what was set before.
"""

from __future__ import annotations

from typing import Any, Final

NO_VALUE: Final = {"Ref": "AWS::NoValue"}

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "KmsKeyArn": {
        "Type": "String",
        "Default": "",
        "AllowedPattern": "^(arn:[^:]+:kms:[^:]+:[0-9]+:key/.+)?$",
        "ConstraintDescription": "the ARN of a key of AWS KMS, or empty",
        "Description": "Your own KMS key for tables, queues, bucket and secrets; empty: keys of AWS",
    },
    "LogRetentionDays": {
        "Type": "Number",
        "Default": 30,
        "AllowedValues": [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653],
        "Description": "How long logs are kept",
    },
    "ExecutorConcurrency": {
        "Type": "Number",
        "Default": 50,
        "MinValue": 2,
        "MaxValue": 1000,
        "Description": "How many executors run at a time, each with up to ten actions",
    },
    "LongExecutorConcurrency": {
        "Type": "Number",
        "Default": 20,
        "MinValue": 2,
        "MaxValue": 1000,
        "Description": "How many executors of long actions run at a time, each with one",
    },
    "NotifierConcurrency": {
        "Type": "Number",
        "Default": 10,
        "MinValue": 2,
        "MaxValue": 1000,
        "Description": "How many notifications are sent at a time",
    },
    "ApiRatePerSec": {
        "Type": "Number",
        "Default": 100,
        "MinValue": 1,
        "Description": "How many requests a second the API takes, of all callers together",
    },
    "ApiBurst": {
        "Type": "Number",
        "Default": 200,
        "MinValue": 1,
        "Description": "How many requests the API takes at once",
    },
    "Alarms": {
        "Type": "String",
        "Default": "on",
        "AllowedValues": ["on", "off"],
        "Description": "Whether there are alarms, which cost by the month; the dashboard is there either way",
    },
    "WebAclArn": {
        "Type": "String",
        "Default": "",
        "AllowedPattern": "^(arn:[^:]+:wafv2:[^:]+:[0-9]+:regional/webacl/.+)?$",
        "ConstraintDescription": "the ARN of a regional web ACL of AWS WAF, or empty",
        "Description": "A web ACL of AWS WAF to stand before the API; empty: none",
    },
    "ActionPolicyArns": {
        "Type": "CommaDelimitedList",
        "Default": "",
        "Description": "Managed policies of what aws.* actions may do, separated by commas; empty: nothing",
    },
}

CONDITIONS: Final[dict[str, Any]] = {
    "HasAlarms": {"Fn::Equals": [{"Ref": "Alarms"}, "on"]},
    "HasKmsKey": {"Fn::Not": [{"Fn::Equals": [{"Ref": "KmsKeyArn"}, ""]}]},
    "HasWebAcl": {"Fn::Not": [{"Fn::Equals": [{"Ref": "WebAclArn"}, ""]}]},
    "HasActionPolicies": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": [",", {"Ref": "ActionPolicyArns"}]}, ""]}]},
}


def with_key(value: Any, otherwise: Any = NO_VALUE) -> dict[str, Any]:
    """One value where the operator has given a key, another one (by default none) where not."""
    return {"Fn::If": ["HasKmsKey", value, otherwise]}


KEY: Final = {"Ref": "KmsKeyArn"}
