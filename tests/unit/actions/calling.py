"""Calling actions as an executor does."""

from __future__ import annotations

from chalicelib.actions.egress import EgressPolicy
from chalicelib.actions.registry import ActionContext, Registry, perform
from chalicelib.vocabulary import Json, Result

REGISTRY = Registry()
OPEN = EgressPolicy(denied_networks=())
LOCAL = ActionContext(egress=OPEN, action_execution_id="an-id")
# Whoever talks to the silent for so long knows no deadline. Far beyond every deadline here: the machine may be busy.
HANGS_SEC = 25


def call(name: str, seen: ActionContext = LOCAL, /, **input: Json) -> Result:
    """The result of an action, its input checked before."""
    action = REGISTRY.find(name)
    assert action is not None
    action.check(input)
    action.check_values(input)
    return perform(action, input, seen)


def construct(name: str, **input: Json) -> None:
    """Check an input by name and value."""
    action = REGISTRY.find(name)
    assert action is not None
    action.check(input)
    action.check_values(input)


def signature(name: str) -> str:
    """The parameters as the API shows them."""
    action = REGISTRY.find(name)
    assert action is not None
    return action.signature_text
