"""``aws.<service>.<operation>``: every operation of every AWS service that botocore has a model of, as an action.

Service names are boto3's (``ec2``, ``cognito-idp``), operations are in snake case as boto3's methods. The parameters
are the members of the operation's input, spelled as AWS spells them, and some more: ``region``, ``role_arn``, ``query``
(JMESPath on the result) and ``paginate`` (all pages as one result). Where an operation has a member of such a name, the
extra one is called ``aws_region`` and so on. The result is the answer as plain JSON without ``ResponseMetadata``; see
``aws_values``. ``aws.<service>.wait_<waiter>`` are botocore's waiters, and a few actions are made by hand
(``aws_lambda``, ``aws_ssm``).
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

from botocore import xform_name

from chalicelib.actions.action import Action, ActionSummary, FunctionAction
from chalicelib.actions.aws_calls import AwsCalls
from chalicelib.actions.aws_lambda import function_action, lambda_actions
from chalicelib.actions.aws_models import AwsModels
from chalicelib.actions.aws_operations import AwsAction
from chalicelib.actions.aws_ssm import ssm_actions
from chalicelib.actions.aws_waiters import AwsWaiter
from chalicelib.limits import AWS_SUMMARIES_CACHED_MAX


class AwsActions:
    """The source of all ``aws.*`` actions."""

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        self._models = AwsModels()
        self._calls = AwsCalls(self._models, pause)
        made = (*lambda_actions(self._calls), *ssm_actions(self._calls))
        # A row of a list is small, the model that it is made from is not: rows are kept for longer.
        self.summary = lru_cache(maxsize=AWS_SUMMARIES_CACHED_MAX)(self._summary)
        self._made: dict[str, FunctionAction] = {action.name: action for action in made}

    def find(self, name: str) -> Action | None:
        """The action of that full name, or ``None``."""
        made = self._made.get(name)
        if made is not None:
            return made
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "aws":
            return None
        service, operation = parts[1], parts[2]
        model = self._models.operation(service, operation)
        if model is not None:
            return AwsAction(name, service, operation, model, self._calls)
        config = self._models.waiter(service, operation)
        if config is None:
            return None
        asked = xform_name(config.operation)
        model = self._models.operation(service, asked)
        return None if model is None else AwsWaiter(name, service, asked, model, self._calls, operation, config)

    def _summary(self, name: str) -> ActionSummary | None:
        """One action in a listing; ``None`` if there is none of that name."""
        found = self.find(name)
        return None if found is None else ActionSummary.of(found)

    def function(self, name: str, prefix: str) -> FunctionAction | None:
        """The action ``lambda.<name>``; ``None`` for what can be no function's name."""
        return function_action(self._calls, name, prefix)

    def names(self, *, after: str = "", prefix: str = "") -> Iterator[str]:
        """Full names in order, leaving out whole services that lie before ``after`` or outside ``prefix``."""
        for service in self._models.services:
            head = f"aws.{service}."
            wanted = head.startswith(prefix) or prefix.startswith(head)
            if wanted and (head >= after or after.startswith(head)):
                yield from self._names_of(service)

    def names_near(self, name: str) -> list[str]:
        """Names to look for a misspelt one in: the actions of its service, or of the services spelt like it."""
        _, _, rest = name.partition(".")
        service, _, _ = rest.partition(".")
        known = service in self._models.services
        services = [service] if known else difflib.get_close_matches(service, self._models.services, n=3)
        return [found for near in services for found in self._names_of(near)]

    def _names_of(self, service: str) -> list[str]:
        head = f"aws.{service}."
        made = [name for name in self._made if name.startswith(head)]
        if not made and not self._models.waiters(service):
            return [head + operation for operation in self._models.operations(service)]
        generated = [head + name for name in (*self._models.operations(service), *self._models.waiters(service))]
        return sorted({*generated, *made})
