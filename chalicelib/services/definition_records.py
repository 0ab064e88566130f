"""Definitions of all kinds as records, and how they lie in the table ``definitions``.

========================  =====================  =================================================
partition                 key                    item
========================  =====================  =================================================
project#kind#namespace    name                   the record; starting a workflow reads only this
id#uuid                   ``address``            where the record of that id is
snapshot#hash             ``spec``               the data of a workflow's spec; never changes
source#uuid               id of a dynamic action where that is; it is made of the code source of that id
========================  =====================  =================================================

The four indexes of the table serve the lists: a project's own and what is public, each by creation and by name. The
places of the address items give everything of all projects, in the same two orders.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from enum import StrEnum
from typing import Any, Final

from chalicelib.data import dataclass
from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.errors import SizeLimitExceededException, UnknownFormatError
from chalicelib.lang.parser import action_from_data
from chalicelib.lang.specs import ActionSpec, InputSpec
from chalicelib.limits import DEFINITION_BULK_BYTES_MAX, RECORD_BYTES_MAX
from chalicelib.services.ports import (
    INDEX_ALARM,
    INDEX_LISTING,
    INDEX_ROOT,
    INDEX_WORKFLOW,
    IndexKey,
    Item,
    Payloads,
)
from chalicelib.vocabulary import Json, JsonObject

__all__ = [
    "ActionContent",
    "CodeSourceContent",
    "Content",
    "Definition",
    "DynamicActionContent",
    "EnvironmentContent",
    "Kind",
    "Order",
    "WorkbookContent",
    "WorkflowContent",
    "address_item",
    "address_partition",
    "decode",
    "digest_of",
    "encode",
    "escaped",
    "everyones_list",
    "facts_of",
    "first_revision",
    "interface_of",
    "own_list",
    "partition_of",
    "public_list",
    "sort_value",
    "spec_of",
]

FORMAT_VERSION: Final = 1
ADDRESS_KEY: Final = "address"
PUBLIC: Final = "public"
PRIVATE: Final = "private"
# An index sorts by at most 1024 bytes; of longer names the beginning must do.
_SORTED_NAME_BYTES_MAX: Final = 900


class Kind(StrEnum):
    """What a record defines."""

    WORKFLOW = "workflow"
    WORKBOOK = "workbook"
    ACTION = "action"
    ENVIRONMENT = "environment"
    CODE_SOURCE = "code_source"
    DYNAMIC_ACTION = "dynamic_action"


class Order(StrEnum):
    """The orders in which the table itself can list."""

    CREATED_AT = "created_at"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class WorkflowContent:
    """A workflow: its text, what a start must know, and the hash under which its spec is stored.

    ``checksum`` is absent for the workflows of a workbook, ``output`` holds the names only. ``former_names``: what it
    was called when it had executions that keep that name.
    """

    definition: str
    definition_hash: str
    input: tuple[InputSpec, ...] = ()
    output: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    checksum: str | None = None
    workbook_name: str | None = None
    former_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkbookContent:
    """A workbook; what it contains has records of its own."""

    definition: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionContent:
    """An ad-hoc action: the text it came in, and the data of its spec."""

    definition: str
    spec_data: JsonObject
    tags: tuple[str, ...] = ()
    description: str | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentContent:
    """An environment; ``None`` is what has never been given."""

    description: str | None = None
    variables: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class CodeSourceContent:
    """The text of a Python module; ``version`` counts its texts from 1."""

    content: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class DynamicActionContent:
    """An action made of a class in a code source."""

    class_name: str
    code_source_id: str
    code_source_name: str


Content = (
    WorkflowContent | WorkbookContent | ActionContent | EnvironmentContent | CodeSourceContent | DynamicActionContent
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One record. Times are seconds since the epoch; ``revision`` grows with every write, from ``first_revision``."""

    kind: Kind
    id: str
    name: str
    namespace: str
    project_id: str
    scope: str
    created_at: float
    content: Content
    updated_at: float | None = None
    revision: int = 1

    @property
    def is_public(self) -> bool:
        """Whether every project sees it."""
        return self.scope == PUBLIC

    @property
    def partition(self) -> str:
        """The partition of its item."""
        return partition_of(self.kind, self.project_id, self.namespace)


def first_revision(identifier: str) -> int:
    """The revision a record begins with: not that of an earlier record of the same name, which has another id."""
    return 1 + int(identifier[:8], 16)


# -- addresses and places in the indexes


def partition_of(kind: Kind, project_id: str, namespace: str) -> str:
    """The partition of all records of a kind in one namespace of one project; no two share one."""
    return f"{escaped(project_id)}#{kind}#{namespace}"


def address_partition(identifier: str) -> str:
    """The partition of the item that says where the record of an id is."""
    return f"id#{identifier}"


def own_list(kind: Kind, project_id: str, order: Order) -> tuple[str, str]:
    """The index, and the value in it, that lists what a project has of a kind."""
    return (INDEX_LISTING if order is Order.CREATED_AT else INDEX_WORKFLOW), f"{escaped(project_id)}#{kind}"


def public_list(kind: Kind, order: Order) -> tuple[str, str]:
    """The index, and the value in it, that lists what is public of a kind."""
    return (INDEX_ROOT if order is Order.CREATED_AT else INDEX_ALARM), f"public#{kind}"


def everyones_list(kind: Kind, order: Order) -> tuple[str, str]:
    """The index, and the value in it, that lists the addresses of all projects' records of a kind."""
    return (INDEX_LISTING if order is Order.CREATED_AT else INDEX_WORKFLOW), f"#everyone#{kind}"


def sort_value(record: Definition, order: Order) -> str:
    """Where a record stands among others in an order; the id makes it unique."""
    if order is Order.NAME:
        return f"{sorted_name(record.name)}\0{record.id}"
    return f"{round(record.created_at * 1000):015d}#{record.id}"


def sorted_name(name: str) -> str:
    """As much of a name as an index can sort by."""
    return name.encode()[:_SORTED_NAME_BYTES_MAX].decode(errors="ignore")


def _places(record: Definition) -> dict[str, IndexKey]:
    places = {}
    for order in Order:
        lists = [own_list(record.kind, record.project_id, order)]
        lists += [public_list(record.kind, order)] if record.is_public else []
        places.update({index: IndexKey(value, sort_value(record, order)) for index, value in lists})
    return places


def address_item(record: Definition) -> Item:
    """The item that leads from the id to the record."""
    body = json.dumps({"partition": record.partition, "key": record.name})
    places = {}
    for order in Order:
        index, value = everyones_list(record.kind, order)
        places[index] = IndexKey(value, sort_value(record, order))
    return Item(address_partition(record.id), ADDRESS_KEY, body.encode(), indexes=places)


def escaped(project_id: str) -> str:
    """A project as a part of keys: no other text made so is the same."""
    return project_id.replace("%", "%25").replace("#", "%23")


# -- records as items


def digest_of(text: bytes) -> str:
    """The name of some content, the same for the same bytes."""
    return hashlib.blake2b(text, digest_size=20).hexdigest()


def encode(record: Definition, payloads: Payloads) -> Item:
    """The item of a record. What is too large for it goes to the payloads first.

    Raises SizeLimitExceededException when what must stay in the item is too large.
    """
    facts, bulk = _split(record.content)
    data: JsonObject = {
        "v": FORMAT_VERSION,
        "id": record.id,
        "project_id": record.project_id,
        "namespace": record.namespace,
        "scope": record.scope,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        **facts,
    }
    body = _packed({**data, "bulk": bulk})
    if len(body) > DEFINITION_BULK_BYTES_MAX:
        stored = _packed(bulk)
        # Shared by all actions of one text and never deleted, since another record may hold the same content.
        digest = f"definition-{digest_of(stored)}"
        payloads.put(digest, stored)
        body = _packed({**data, "bulk_digest": digest})
    if len(body) > RECORD_BYTES_MAX:
        raise SizeLimitExceededException(
            f"The inputs, outputs and tags of '{record.name}' come to {len(body)} bytes; the most is "
            f"{RECORD_BYTES_MAX}: give large defaults when the workflow is started, or keep them in an environment."
        )
    return Item(record.partition, record.name, body, record.revision, _places(record))


def decode(item: Item, payloads: Payloads) -> Definition:
    """The record of an item. Raises UnknownFormatError."""
    data = _unpacked(item.body)
    if data.get("v") != FORMAT_VERSION:
        raise UnknownFormatError(
            f"The definition '{item.key}' is stored in format {data.get('v')}, which this version does not know."
        )
    kind = Kind(item.partition.split("#", 2)[1])
    bulk = data["bulk"] if "bulk" in data else _unpacked(payloads.get(data["bulk_digest"]))
    return Definition(
        kind=kind,
        id=data["id"],
        name=item.key,
        namespace=data["namespace"],
        project_id=data["project_id"],
        scope=data["scope"],
        created_at=data["created_at"],
        updated_at=data["updated_at"],
        revision=item.revision,
        content=_joined(kind, data, bulk),
    )


def _split(content: Content) -> tuple[JsonObject, JsonObject]:
    """What belongs into the item, and what may be elsewhere."""
    match content:
        case WorkflowContent():
            facts = {
                "hash": content.definition_hash,
                "input": _entries(content.input),
                "output": content.output,
                "tags": content.tags,
                "checksum": content.checksum,
                "workbook_name": content.workbook_name,
                "former_names": content.former_names,
            }
            return facts, {"definition": content.definition}
        case WorkbookContent():
            return {"tags": content.tags}, {"definition": content.definition}
        case ActionContent():
            facts = {"tags": content.tags, "description": content.description}
            return facts, {"definition": content.definition, "spec": content.spec_data}
        case EnvironmentContent():
            return {}, {"description": content.description, "variables": content.variables}
        case CodeSourceContent():
            return {"version": content.version}, {"content": content.content}
        case DynamicActionContent():
            facts = {
                "class_name": content.class_name,
                "source_id": content.code_source_id,
                "source_name": content.code_source_name,
            }
            return facts, {}


def _joined(kind: Kind, facts: JsonObject, bulk: JsonObject) -> Content:
    match kind:
        case Kind.WORKFLOW:
            return WorkflowContent(
                definition=bulk["definition"],
                definition_hash=facts["hash"],
                input=tuple(_input(entry) for entry in facts["input"]),
                output=tuple(facts["output"]),
                tags=tuple(facts["tags"]),
                checksum=facts["checksum"],
                workbook_name=facts["workbook_name"],
                former_names=tuple(facts.get("former_names", ())),
            )
        case Kind.WORKBOOK:
            return WorkbookContent(bulk["definition"], tuple(facts["tags"]))
        case Kind.ACTION:
            return ActionContent(bulk["definition"], bulk["spec"], tuple(facts["tags"]), facts["description"])
        case Kind.ENVIRONMENT:
            return EnvironmentContent(bulk["description"], bulk["variables"])
        case Kind.CODE_SOURCE:
            return CodeSourceContent(bulk["content"], facts["version"])
        case Kind.DYNAMIC_ACTION:
            return DynamicActionContent(facts["class_name"], facts["source_id"], facts["source_name"])


def _entries(inputs: tuple[InputSpec, ...]) -> list[Json]:
    return [spec.name if spec.required else {spec.name: spec.default} for spec in inputs]


def _input(entry: Json) -> InputSpec:
    if isinstance(entry, str):
        return InputSpec(entry)
    [(name, default)] = entry.items()
    return InputSpec(name, required=False, default=default)


def _packed(data: JsonObject) -> bytes:
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode())


def _unpacked(body: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(zlib.decompress(body))
    return data


# -- what others want of a record


def facts_of(record: Definition) -> WorkflowFacts:
    """What a start must know of a workflow."""
    content = record.content
    assert isinstance(content, WorkflowContent)
    return WorkflowFacts(
        id=record.id,
        name=record.name,
        namespace=record.namespace,
        definition_hash=content.definition_hash,
        input=content.input,
        workbook_name=content.workbook_name,
    )


def interface_of(content: WorkflowContent) -> JsonObject:
    """The API's ``interface``: inputs as the language writes them, and the names of outputs."""
    return {"input": _entries(content.input), "output": list(content.output)}


def spec_of(record: Definition) -> ActionSpec:
    """The spec of an ad-hoc action."""
    content = record.content
    assert isinstance(content, ActionContent)
    return action_from_data(content.spec_data)
