"""Reading everything that a project has from a Mistral service, OpenStack's or this one, and creating it in another.

Both have the same API. What they tell differently is evened out here: fields that are JSON in a text, definitions that
hold more than the one thing, and lists of actions, which cover one namespace only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import yaml

from chalicelib.engine.moment import timestamp
from chalicelib.limits import LIST_ITEMS_MAX
from chalicelib.local.belongings import Belonging, Kind
from chalicelib.local.remote import Refused, Remote
from chalicelib.vocabulary import JsonObject

# What Mistral shows as the pattern of a trigger that has none: the 30th of February.
_NO_PATTERN: Final = "0 0 30 2 0"
_CRON_OPTIONS: Final = ("time_zone", "overlap", "catch_up_sec", "jitter_sec", "start_within_sec", "end_within_sec")
_OF_ADMINS: Final = (Kind.CODE_SOURCES, Kind.DYNAMIC_ACTIONS)
_VERSION: Final = "2.0"

Row = Mapping[str, Any]


@dataclass(slots=True)
class Inventory:
    """What was read, and what could not be."""

    belongings: list[Belonging] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def inventory(
    service: Remote,
    *,
    project: str | None = None,
    namespaces: Iterable[str] = (),
    now: Callable[[], float] = time.time,
    page_size: int = LIST_ITEMS_MAX,
) -> Inventory:
    """Everything that the caller sees; with ``project`` only what belongs to that one. Raises Refused.

    Actions are found in the namespaces of workflows and workbooks, and in those given: no API lists them all.
    """
    reading = _Reading(service, project, frozenset(namespaces), timestamp(now()) or "", page_size)
    return reading.everything()


class _Reading:
    def __init__(
        self, service: Remote, project: str | None, namespaces: frozenset[str], now: str, page_size: int
    ) -> None:
        self._page_size = page_size
        self._service = service
        self._project = project
        self._namespaces = namespaces
        self._now = now
        self._made = Inventory()

    def everything(self) -> Inventory:
        for kind in _OF_ADMINS:
            self._of_admins(kind)
        workbooks, workflows = list(self._rows(Kind.WORKBOOKS)), list(self._rows(Kind.WORKFLOWS))
        namespaces = {"", *self._namespaces, *(str(row.get("namespace") or "") for row in (*workbooks, *workflows))}
        actions = [row for namespace in sorted(namespaces) for row in self._actions(namespace)]
        members = _Members(workbooks)
        for kind, rows in ((Kind.WORKBOOKS, workbooks), (Kind.WORKFLOWS, workflows), (Kind.ACTIONS, actions)):
            for row in rows:
                self._definition(kind, row, members)
        for row in self._environments():
            content = {"description": row.get("description"), "variables": _parsed(row.get("variables"))}
            self._add(Kind.ENVIRONMENTS, row, content)
        by_id = {str(row["id"]): row for row in workflows}
        for row in self._rows(Kind.CRON_TRIGGERS):
            self._cron_trigger(row, by_id)
        for row in self._rows(Kind.EVENT_TRIGGERS):
            self._event_trigger(row, by_id)
        return self._made

    # -- lists

    def _rows(self, kind: Kind) -> Iterator[Row]:
        query = {"limit": str(self._page_size)}
        while True:
            page = self._service.call("GET", f"/{kind.value}", query=query)
            yield from filter(self._is_wanted, page[kind.value])
            marker = parse_qs(urlsplit(str(page.get("next", ""))).query).get("marker", [""])[0]
            if not marker or marker == query.get("marker"):
                return
            query["marker"] = marker

    def _environments(self) -> Iterator[Row]:
        """By name: OpenStack Mistral looks for the marker of environments by name, and takes an id only."""
        query = {"limit": str(self._page_size), "sort_keys": "name", "sort_dirs": "asc"}
        seen: set[str] = set()
        while True:
            page = self._service.call("GET", "/environments", query=query)["environments"]
            rows = [row for row in page if row["id"] not in seen]
            yield from filter(self._is_wanted, rows)
            if not rows or len(page) < self._page_size:
                return
            seen |= {row["id"] for row in rows}
            query["name"] = f"gte:{rows[-1]['name']}"

    def _actions(self, namespace: str) -> Iterator[Row]:
        """Those that users have made; without a limit the service gives them all at once."""
        for row in self._service.call("GET", "/actions", query={"namespace": namespace})["actions"]:
            is_made = row.get("definition") and not row.get("is_system")
            if is_made and (row.get("namespace") or "") == namespace and self._is_wanted(row):
                yield row

    def _is_wanted(self, row: Row) -> bool:
        return not row.get("is_system") and self._project in (None, row.get("project_id"))

    def _of_admins(self, kind: Kind) -> None:
        try:
            rows = list(self._rows(kind))
        except Refused as error:
            self._made.remarks.append(f"{kind.value} were not read: {error}")
            return
        for row in rows:
            if kind is Kind.CODE_SOURCES:
                self._add(kind, row, {"source": row.get("content")})
            else:
                told = {name: row.get(name) for name in ("class_name", "code_source_name")}
                self._add(kind, row, told)

    # -- objects

    def _add(self, kind: Kind, row: Row, content: JsonObject, name: str | None = None) -> None:
        self._made.belongings.append(
            Belonging(
                kind,
                str(row["name"]) if name is None else name,
                content,
                str(row.get("namespace") or ""),
                str(row.get("scope") or "private"),
                str(row["id"]),
            )
        )

    def _definition(self, kind: Kind, row: Row, members: _Members) -> None:
        name, text = str(row["name"]), str(row.get("definition") or "")
        workbook = members.workbook_of(kind, row)
        if workbook is not None:
            if not members.is_named(kind, row, workbook):
                self._remark(kind, name, f"was once in workbook {workbook}, whose text does not have it any more")
            return
        self._add(kind, row, {"definition": text if kind is Kind.WORKBOOKS else _alone(name, text)})

    def _cron_trigger(self, row: Row, workflows: Mapping[str, Row]) -> None:
        name, pattern = str(row["name"]), row.get("pattern")
        content: JsonObject = {"pattern": None if pattern == _NO_PATTERN else pattern}
        content |= _called(row, workflows)
        content["remaining_executions"] = row.get("remaining_executions")
        first = str(row.get("first_execution_time") or "")
        due = str(row.get("next_execution_time") or "")
        if content["pattern"] is None and due <= self._now:
            self._remark(Kind.CRON_TRIGGERS, name, "has fired already, and does not fire again")
            return
        if content["pattern"] is None or first > self._now:
            content["first_execution_time"] = (first if first > self._now else due)[: len("YYYY-MM-DD HH:MM")]
        if row.get("paused_at"):
            self._remark(Kind.CRON_TRIGGERS, name, "is paused; the new one is not")
        options = {option: row[option] for option in _CRON_OPTIONS if row.get(option) is not None}
        self._add(Kind.CRON_TRIGGERS, row, content | options)

    def _event_trigger(self, row: Row, workflows: Mapping[str, Row]) -> None:
        content: JsonObject = {part: row.get(part) for part in ("exchange", "topic", "event")}
        content |= _called(row, workflows) | {"name": row.get("name")}
        if content["workflow_name"] is None:
            self._remark(Kind.EVENT_TRIGGERS, str(row["id"]), "is of a workflow that cannot be seen")
            return
        parts = (*(str(row.get(part)) for part in ("exchange", "topic", "event")), content["workflow_name"])
        self._add(Kind.EVENT_TRIGGERS, row, content, "/".join(parts))

    def _remark(self, kind: Kind, name: str, text: str) -> None:
        self._made.remarks.append(f"{kind.word} {name} {text}")


def _called(row: Row, workflows: Mapping[str, Row]) -> JsonObject:
    """What a trigger starts."""
    workflow = workflows.get(str(row.get("workflow_id")), {})
    return {
        "workflow_name": row.get("workflow_name") or workflow.get("name"),
        "workflow_namespace": workflow.get("namespace"),
        "workflow_input": _parsed(row.get("workflow_input")),
        "workflow_params": _parsed(row.get("workflow_params")),
    }


class _Members:
    """Which workflows and actions came with a workbook, and come with it again."""

    def __init__(self, workbooks: Iterable[Row]) -> None:
        self._texts = {
            (str(row.get("namespace") or ""), str(row["name"])): str(row.get("definition") or "") for row in workbooks
        }

    def workbook_of(self, kind: Kind, row: Row) -> str | None:
        """The workbook that a workflow or an action belongs to by its name."""
        if kind is Kind.WORKBOOKS:
            return None
        namespace, parts = str(row.get("namespace") or ""), str(row["name"]).split(".")
        prefixes = (".".join(parts[:count]) for count in range(1, len(parts)))
        return next((name for name in prefixes if (namespace, name) in self._texts), None)

    def is_named(self, kind: Kind, row: Row, workbook: str) -> bool:
        """Whether the workbook's text has it still."""
        text = _loaded(self._texts[str(row.get("namespace") or ""), workbook])
        section = text.get(kind.value)
        return isinstance(section, dict) and str(row["name"]).removeprefix(f"{workbook}.") in section


def _alone(name: str, text: str) -> str:
    """The text of one thing, where the service keeps a text of several with each of them."""
    found = _loaded(text)
    if name not in found or not found.keys() - {"version", "name", "tags", "description", name}:
        return text
    single = {"version": str(found.get("version", _VERSION)), name: found[name]}
    return yaml.safe_dump(single, sort_keys=False, allow_unicode=True)


def _loaded(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(value: Any) -> Any:
    """A field that is JSON, in a text or not."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


# -- creating


def create(service: Remote, one: Belonging) -> None:
    """Create it. Raises Refused."""
    _send(service, one, "POST")


def replace(service: Remote, one: Belonging, other: Belonging) -> None:
    """Put it in the place of another one there. Raises Refused; a trigger is then gone."""
    if one.kind in (Kind.CRON_TRIGGERS, Kind.EVENT_TRIGGERS):
        service.call("DELETE", f"/{one.kind.value}/{quote(other.id, safe='')}")
        _send(service, one, "POST")
    else:
        _send(service, one, "PUT")


def _send(service: Remote, one: Belonging, method: str) -> None:
    place = {"scope": one.scope, "namespace": one.namespace}
    match one.kind:
        case Kind.CODE_SOURCES:
            named = {"name" if method == "POST" else "identifier": one.name}
            service.call(method, "/code_sources", str(one.content["source"]), query=named | place)
        case Kind.WORKBOOKS | Kind.ACTIONS | Kind.WORKFLOWS:
            service.call(method, f"/{one.kind.value}", str(one.content["definition"]), query=place)
        case Kind.DYNAMIC_ACTIONS:
            service.call(method, "/dynamic_actions", {"name": one.name, **one.content, **place})
        case Kind.ENVIRONMENTS:
            service.call(method, "/environments", {"name": one.name, "scope": one.scope, **_given(one.content)})
        case Kind.CRON_TRIGGERS:
            body = {"name": one.name, "scope": one.scope, **_given(one.content)}
            service.call(method, "/cron_triggers", _with_workflow(service, body, always_by_id=False))
        case Kind.EVENT_TRIGGERS:
            body = {"scope": one.scope, **_given(one.content)}
            service.call(method, "/event_triggers", _with_workflow(service, body, always_by_id=True))


def _given(content: JsonObject) -> JsonObject:
    return {name: value for name, value in content.items() if value is not None}


def _with_workflow(service: Remote, body: JsonObject, *, always_by_id: bool) -> JsonObject:
    """The body, with the workflow by its id where its name does not say which it is."""
    namespace = body.pop("workflow_namespace", "")
    if not always_by_id and not namespace:
        return body
    name = quote(str(body.pop("workflow_name")), safe="")
    return body | {"workflow_id": service.call("GET", f"/workflows/{name}", query={"namespace": namespace})["id"]}
