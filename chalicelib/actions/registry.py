"""All actions under one roof: find one by name, list them in order, say what a wrong name may have meant.

Four sources, asked in this order: the functions of ``BUILT_IN_MODULES``; ``aws.<service>.<operation>`` and the
methods of OpenStack's clients (``nova.servers_create``), generated when asked for; and packages that offer an action
through the entry point group ``mistral_serverless.actions`` (the entry's name is the action's name, its value a
function with ``@action``). Ad-hoc actions are the business of the services above.
"""

from __future__ import annotations

import difflib
import heapq
import itertools
import logging
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, Final

from chalicelib.actions import email, http, javascript, ssh, std
from chalicelib.actions.action import (
    Action,
    ActionContext,
    ActionSummary,
    AwsSettings,
    FunctionAction,
    Parameter,
    Pending,
    Polling,
    action,
    comes_later,
    perform,
)
from chalicelib.actions.egress import EgressPolicy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from chalicelib.actions.aws import AwsActions
    from chalicelib.actions.openstack import OpenStackActions

__all__ = [
    "Action",
    "ActionContext",
    "ActionSummary",
    "AwsSettings",
    "EgressPolicy",
    "FunctionAction",
    "Parameter",
    "Pending",
    "Polling",
    "Registry",
    "action",
    "comes_later",
    "perform",
]

BUILT_IN_MODULES: Final = (std, http, email, ssh, javascript)
ENTRY_POINT_GROUP: Final = "mistral_serverless.actions"
AWS_PREFIX: Final = "aws."
OPENSTACK_NAMESPACES: Final = frozenset({"cinder", "glance", "heat", "keystone", "neutron", "nova", "swift"})
LAMBDA_PREFIX: Final = "lambda."

_logger = logging.getLogger(__name__)


class Registry:
    """The actions of one process. What it has read it keeps, within bounds; it may be shared between threads.

    With ``lambda_prefix``, an action ``lambda.<name>`` calls the Lambda function ``<lambda_prefix><name>``.
    """

    def __init__(self, lambda_prefix: str | None = None) -> None:
        self._lambda_prefix = lambda_prefix
        self._built_in: dict[str, Action] = {
            item.name: item
            for module in BUILT_IN_MODULES
            for item in vars(module).values()
            if isinstance(item, FunctionAction)
        }
        self._loaded: dict[str, Action | None] = {}

    def find(self, name: str) -> Action | None:
        """The action of that name, or ``None``."""
        built_in = self._built_in.get(name)
        if built_in is not None:
            return built_in
        if name.startswith(AWS_PREFIX):
            return self._aws.find(name)
        if self._lambda_prefix is not None and name.startswith(LAMBDA_PREFIX):
            return self._aws.function(name, self._lambda_prefix)
        is_openstack = name.partition(".")[0] in OPENSTACK_NAMESPACES
        if is_openstack and (found := self._openstack.find(name)) is not None:
            return found
        if name in self._entry_points:
            return self._plugged_in(name)
        return self._openstack.absent(name) if is_openstack else None

    def page(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        prefix: str = "",
        matches: Callable[[str], bool] | None = None,
    ) -> list[ActionSummary]:
        """Up to ``limit`` actions in the order of their names, beginning behind ``after``.

        ``prefix`` and ``matches`` choose by name. A prefix spares the reading of other services' models, ``matches``
        may read the names of all; without a limit every service model is read, which takes seconds.
        """
        names = (
            name
            for name, _ in itertools.groupby(self._names(after or "", prefix))
            if name.startswith(prefix) and (after is None or name > after) and (matches is None or matches(name))
        )
        found = (self._summary(name) for name in names)
        return list(itertools.islice((item for item in found if item is not None), limit))

    def _summary(self, name: str) -> ActionSummary | None:
        if name.startswith(AWS_PREFIX) and name not in self._built_in:
            return self._aws.summary(name)
        found = self.find(name)
        return None if found is None else ActionSummary.of(found)

    def hand_made(self) -> list[ActionSummary]:
        """The actions that somebody wrote as such, built in and plugged in, in the order of their names."""
        names = {*self._built_in, *self._entry_points}
        found = (self.find(name) for name in sorted(names) if not name.startswith(AWS_PREFIX))
        return [ActionSummary.of(item) for item in found if item is not None]

    def of_openstack(self) -> list[ActionSummary]:
        """The methods of OpenStack's clients, in the order of their names; ``hand_made`` has what packages name alike.

        Where clients are installed, the first call imports them, which takes seconds.
        """
        return [summary for summary in self._openstack.summaries if summary.name not in self._entry_points]

    def names_like(self, name: str, limit: int = 3) -> list[str]:
        """Names that a wrong one may have meant, the closest first."""
        candidates = [*self._built_in, *self._entry_points]
        if name.startswith(AWS_PREFIX):
            candidates += self._aws.names_near(name)
        elif name.partition(".")[0] in OPENSTACK_NAMESPACES:
            candidates += self._openstack.names_near(name)
        return difflib.get_close_matches(name, candidates, n=limit, cutoff=0.6)

    def _names(self, after: str, prefix: str) -> Iterator[str]:
        sources: list[Iterator[str]] = [iter(sorted(self._built_in)), iter(sorted(self._entry_points))]
        if AWS_PREFIX.startswith(prefix) or prefix.startswith(AWS_PREFIX):
            sources.append(self._aws.names(after=after, prefix=prefix))
        if any(f"{name}.".startswith(prefix) or prefix.startswith(f"{name}.") for name in OPENSTACK_NAMESPACES):
            sources.append(self._openstack.names(prefix=prefix))
        return heapq.merge(*sources)

    @cached_property
    def _aws(self) -> AwsActions:
        from chalicelib.actions.aws import AwsActions

        return AwsActions()

    @cached_property
    def _openstack(self) -> OpenStackActions:
        from chalicelib.actions.openstack import OpenStackActions

        return OpenStackActions()

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        return _offered()

    def _plugged_in(self, name: str) -> Action | None:
        """A foreign action; a broken one is reported once and taken as absent: it breaks nothing but itself."""
        if name not in self._loaded:
            self._loaded[name] = _load(self._entry_points[name])
        return self._loaded[name]


@cache
def _offered() -> dict[str, EntryPoint]:
    """What the installed packages offer. Every package is looked at: once in the life of a process is enough."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _load(entry: EntryPoint) -> Action | None:
    try:
        loaded = entry.load()
    except Exception:
        _logger.exception("The action %s of the entry point group %s cannot be loaded", entry.name, ENTRY_POINT_GROUP)
        return None
    if not isinstance(loaded, FunctionAction):
        fault = "is not made with @action"
    elif loaded.name != entry.name:
        fault = f"calls itself {loaded.name}: both names must be the same"
    else:
        return loaded
    _logger.error("The action %s of the entry point group %s %s", entry.name, ENTRY_POINT_GROUP, fault)
    return None
