"""The secrets that the stack generates: what signs the tokens of logins, and what signs webhooks.

They are resolved when the stack is deployed, into the environment of the functions that sign or verify: no role may
read them, hence no `aws.*` action of a workflow, and a cold start asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.functions import function_name
from infra.parameters import KEY, with_key
from infra.roles import Names, statements

_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Generated:
    """A secret: its logical name, its name without the prefix, the setting that it is, and whose."""

    logical: str
    name: str
    variable: str
    doors: tuple[str, ...]

    @property
    def resolved(self) -> dict[str, str]:
        """What CloudFormation replaces by its value."""
        return {"Fn::Sub": f"{{{{resolve:secretsmanager:${{{self.logical}}}}}}}"}


def secrets(names: Names) -> Iterator[Generated]:
    """All of them; none for webhooks where the operator has one."""
    yield Generated("MistralTokenSecret", "token-secret", "MISTRAL_TOKEN_SECRET", ("api_handler", "authorizer"))
    if names.generates_webhook_secret:
        # Every door that carries executions on may come upon `webhook_url()` in an expression.
        carrying = tuple(door for door in statements(names) if door != "authorizer")
        yield Generated("MistralWebhookSecret", "webhook-secret", "MISTRAL_WEBHOOK_SECRET", carrying)


def resources(names: Names) -> dict[str, Any]:
    """The secrets, and what the functions are told."""
    made: dict[str, Any] = {}
    told: dict[str, dict[str, Any]] = {}
    for secret in secrets(names):
        made[secret.logical] = _resource(names.prefix + secret.name)
        for door in secret.doors:
            told.setdefault(function_name(door), {})[secret.variable] = secret.resolved
    return made | {name: {"Properties": {"Environment": {"Variables": each}}} for name, each in told.items()}


def _resource(name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "Name": name,
            "KmsKeyId": with_key(KEY),
            "GenerateSecretString": {"PasswordLength": _CHARACTERS, "ExcludePunctuation": True},
        },
    }
