"""Calls of ``aws.*`` actions, checked when a definition is stored: names, and values that are no expressions.

Mistral checks no action before it runs. These names are ours alone, so that nothing of Mistral's is refused. That a
required parameter is missing is no fault yet: the environment of an execution may hold its value (``__actions``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chalicelib.actions.registry import AWS_PREFIX, Registry
from chalicelib.errors import InvalidActionException
from chalicelib.lang.calls import ActionCall, action_calls, defined_actions
from chalicelib.lang.faults import Faults
from chalicelib.lang.inline import has_expression
from chalicelib.lang.loader import load

# In the place of a required parameter that is not given: an expression is right for any type.
_SOMETHING: Final = "<% $ %>"


class StaticChecks:
    """Checks documents against the actions of the installation."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def check(self, text: str, is_ad_hoc: Callable[[str], bool]) -> None:
        """Refuse calls that cannot succeed; ``is_ad_hoc`` tells the names that mean something else.

        Raises InvalidModelException with every fault and its place.
        """
        if AWS_PREFIX not in text:
            return
        document = load(text)
        faults, own = Faults(document), defined_actions(document)
        for call in action_calls(document):
            if not call.name.startswith(AWS_PREFIX) or has_expression(call.name) or call.name in own:
                continue
            fault = self._fault(call)
            if fault is not None and not is_ad_hoc(call.name):
                message, parameter = fault
                is_name = parameter is None and self._registry.find(call.name) is None
                faults.model((*call.path, call.name_key) if is_name else call.place_of(parameter, document), message)
        faults.raise_if_any()

    def _fault(self, call: ActionCall) -> tuple[str, str | None] | None:
        """What is wrong with a call, and with which parameter, if it is one."""
        found = self._registry.find(call.name)
        if found is None:
            likely = self._registry.names_like(call.name)
            hint = f"; did you mean {' or '.join(likely)}?" if likely else ""
            return f"there is no action '{call.name}'{hint}", None
        if call.input is None:
            return None
        known = {parameter.name for parameter in found.parameters}
        missing = {p.name: _SOMETHING for p in found.parameters if p.required and p.name not in call.input}
        try:
            found.check({**missing, **call.input})
        except InvalidActionException as error:
            return error.message, next((name for name in call.input if name not in known), None)
        return None
