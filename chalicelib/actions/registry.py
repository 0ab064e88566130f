"""All actions under one roof: find one by name, list them in order, say what a wrong name may have meant.

Three sources, asked in this order: the functions of ``BUILT_IN_MODULES``; packages that offer an action through the
entry point group ``mistral_serverless.actions`` (the entry's name is the action's name, its value a function with
``@action``); and ``aws.<service>.<operation>``, generated when asked for. Ad-hoc actions are the business of the
services above.
"""

from __future__ import annotations

import difflib
import heapq
import itertools
import logging
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final

from chalicelib.actions import http, std
from chalicelib.actions.action import (
    Action,
    ActionContext,
    ActionSummary,
    AwsSettings,
    FunctionAction,
    Parameter,
    action,
    perform,
)
from chalicelib.actions.egress import EgressPolicy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from chalicelib.actions.aws import AwsActions

__all__ = [
    "Action",
    "ActionContext",
    "ActionSummary",
    "AwsSettings",
    "EgressPolicy",
    "FunctionAction",
    "Parameter",
    "Registry",
    "action",
    "perform",
]

BUILT_IN_MODULES: Final = (std, http)
ENTRY_POINT_GROUP: Final = "mistral_serverless.actions"
AWS_PREFIX: Final = "aws."

_logger = logging.getLogger(__name__)


class Registry:
    """The actions of one process. What it has read it keeps, within bounds; it may be shared between threads."""

    def __init__(self) -> None:
        self._built_in: dict[str, Action] = {
            item.name: item
            for module in BUILT_IN_MODULES
            for item in vars(module).values()
            if isinstance(item, FunctionAction)
        }

    def find(self, name: str) -> Action | None:
        """The action of that name, or ``None``."""
        built_in = self._built_in.get(name)
        if built_in is not None:
            return built_in
        if name.startswith(AWS_PREFIX):
            return self._aws.find(name)
        return self._plugged_in(name) if name in self._entry_points else None

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
        found = (self.find(name) for name in names)
        return [ActionSummary.of(item) for item in itertools.islice((i for i in found if i is not None), limit)]

    def hand_made(self) -> list[ActionSummary]:
        """All actions but the generated ``aws.*``, in the order of their names: few, and quick to list."""
        names = sorted(name for name in {*self._built_in, *self._entry_points} if not name.startswith(AWS_PREFIX))
        return [ActionSummary.of(item) for item in map(self.find, names) if item is not None]

    def names_like(self, name: str, limit: int = 3) -> list[str]:
        """Names that a wrong one may have meant, the closest first."""
        candidates = [*self._built_in, *self._entry_points]
        if name.startswith(AWS_PREFIX):
            candidates += self._aws.names_near(name)
        return difflib.get_close_matches(name, candidates, n=limit, cutoff=0.6)

    def _names(self, after: str, prefix: str) -> Iterator[str]:
        sources: list[Iterator[str]] = [iter(sorted(self._built_in)), iter(sorted(self._entry_points))]
        if AWS_PREFIX.startswith(prefix) or prefix.startswith(AWS_PREFIX):
            sources.append(self._aws.names(after=after, prefix=prefix))
        return heapq.merge(*sources)

    @cached_property
    def _aws(self) -> AwsActions:
        from chalicelib.actions.aws import AwsActions

        return AwsActions()

    @cached_property
    def _entry_points(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points

        return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}

    def _plugged_in(self, name: str) -> Action | None:
        """Load a foreign action; a broken one is reported and taken as absent, so that it breaks nothing but itself."""
        try:
            loaded = self._entry_points[name].load()
        except Exception:
            _logger.exception("The action %s of the entry point group %s cannot be loaded", name, ENTRY_POINT_GROUP)
            return None
        if isinstance(loaded, FunctionAction):
            return loaded
        _logger.error("The action %s of the entry point group %s is not made with @action", name, ENTRY_POINT_GROUP)
        return None
