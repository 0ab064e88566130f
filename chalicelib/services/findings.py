"""What the shell finds for a decision outside its own execution: definitions, environments, other executions."""

from __future__ import annotations

from typing import Any, Final

from chalicelib.actions.registry import Registry
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.identity import partition_of
from chalicelib.engine.moment import Moment, timestamp
from chalicelib.engine.needs import (
    MissingData,
    Need,
    NeedAction,
    NeedExecutions,
    NeedRootEnvironment,
    NeedTasks,
    NeedWorkflow,
)
from chalicelib.engine.records import WorkflowExecution
from chalicelib.engine.world import Engine, ExecutionWorld
from chalicelib.expressions.evaluator import Options
from chalicelib.limits import LIST_ITEMS_MAX
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_places import listing_value, root_value
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.ports import INDEX_LISTING, INDEX_ROOT
from chalicelib.vocabulary import JsonObject, State

_STATES_SHOWN: Final = (State.IDLE, State.RUNNING, State.PAUSED, State.SUCCESS, State.ERROR, State.CANCELLED)


class Findings:
    """Answers needs that are not records of the execution itself."""

    def __init__(self, store: ExecutionStore, definitions: Definitions, registry: Registry, options: Options) -> None:
        self._store = store
        self._definitions = definitions
        self._registry = registry
        self._options = options

    def find(self, header: WorkflowExecution, need: Need) -> Any:
        """The answer to a need. Raises MistralError where the question itself is wrong."""
        match need:
            case NeedAction():
                built_in = self._registry.find(need.name)
                # An ad-hoc action may hide a built-in one of its name, which is rare enough to be seen a moment late.
                ad_hoc = self._definitions.find_action(
                    header.project_id, need.name, need.namespace, is_fresh=built_in is None
                )
                if ad_hoc is not None or built_in is not None:
                    return ad_hoc or built_in
                return self._definitions.code_sources.find_action(header.project_id, need.name, need.namespace)
            case NeedWorkflow():
                found = self._definitions.find_workflow(header.project_id, need.name, need.namespace)
                if found is None and need.namespace:
                    found = self._definitions.find_workflow(header.project_id, need.name, "")
                return found
            case NeedRootEnvironment():
                return self._root_environment(need.root_execution_id)
            case NeedTasks():
                return self._tasks(header.project_id, need)
            case NeedExecutions():
                return self._executions(header.project_id, need)
            case _:
                raise AssertionError(need)

    def _root_environment(self, root_execution_id: str) -> JsonObject:
        root = self._store.header(partition_of(root_execution_id))
        if root is None:
            return {}
        params = self._store.value(root.id, root.params) or {}
        env: JsonObject = params.get("env") or {}
        return env

    def _tasks(self, project_id: str, need: NeedTasks) -> list[JsonObject]:
        if need.workflow_execution_id is None:
            headers = self._project_headers(project_id)
            return [task for header in headers for task in self._described(header, need)]
        header = self._store.header(partition_of(need.workflow_execution_id))
        if header is None or header.project_id != project_id:
            return []
        return self._described(header, need)

    def _described(self, header: WorkflowExecution, need: NeedTasks) -> list[JsonObject]:
        plan = self._definitions.plan(header.definition_hash)
        engine = Engine(plan, Moment(header.updated_at), self._options, -1)
        loaded = Loaded()
        draft = Draft(header, loaded)
        world = ExecutionWorld(draft, engine)
        recursive = need.recursive and need.workflow_execution_id is not None
        while True:
            try:
                return world.tasks(header.public, recursive, need.state, need.flat)
            except MissingData as missing:
                for other in self._store.load(header, loaded, missing.needs):
                    loaded.found[other] = self.find(header, other)

    def _project_headers(self, project_id: str) -> list[WorkflowExecution]:
        entries = []
        for state in _STATES_SHOWN:
            entries += self._store.list_index(
                INDEX_LISTING, listing_value(project_id, state), descending=True, limit=LIST_ITEMS_MAX
            )
        newest = sorted(entries, key=lambda entry: entry.sort, reverse=True)[:LIST_ITEMS_MAX]
        headers = self._store.headers(entry.partition for entry in newest)
        return list(headers.values())

    def _executions(self, project_id: str, need: NeedExecutions) -> list[JsonObject]:
        if need.id is not None:
            header = self._store.header(partition_of(need.id))
            headers = [header] if header is not None and header.project_id == project_id else []
        elif need.root_execution_id is not None:
            entries = self._store.list_index(INDEX_ROOT, root_value(need.root_execution_id), limit=LIST_ITEMS_MAX)
            found = self._store.headers(entry.partition for entry in entries)
            headers = [header for header in found.values() if header.project_id == project_id]
        else:
            headers = self._project_headers(project_id)
        return [self._execution(header) for header in headers if self._matches(header, need)]

    @staticmethod
    def _matches(header: WorkflowExecution, need: NeedExecutions) -> bool:
        created = timestamp(header.created_at) or ""
        return (
            (need.root_execution_id is None or header.root_execution_id == need.root_execution_id)
            and (need.state is None or header.state == need.state)
            and (need.from_time is None or created >= str(need.from_time))
            and (need.to_time is None or created < str(need.to_time))
        )

    def _execution(self, header: WorkflowExecution) -> JsonObject:
        return {
            "id": header.public,
            "name": header.workflow_name,
            "workflow_name": header.workflow_name,
            "workflow_id": header.workflow_id,
            "workflow_namespace": header.workflow_namespace,
            "state": str(header.state),
            "state_info": header.state_info,
            "input": self._store.value(header.id, header.input),
            "output": self._store.value(header.id, header.output),
            "params": self._store.value(header.id, header.params),
            "created_at": timestamp(header.created_at),
            "updated_at": timestamp(header.updated_at),
            "root_execution_id": header.root_execution_id,
        }
