"""Code sources, and the dynamic actions made of their classes: stored, changed, and found for executions.

Nothing is run here, nor compiled: a dynamic action is found with the facts that its text tells. A code source that is
deleted takes its dynamic actions along; ``source#<id>`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final
from uuid import UUID

from chalicelib import limits
from chalicelib.actions.dynamic import DynamicAction
from chalicelib.actions.python_source import PythonSource
from chalicelib.data import dataclass, replace
from chalicelib.errors import ConflictException, InputException, InvalidModelException, SizeLimitExceededException
from chalicelib.services.definition_records import (
    CodeSourceContent,
    Content,
    Definition,
    DynamicActionContent,
    Kind,
    Order,
    address_item,
    digest_of,
    encode,
    first_revision,
)
from chalicelib.services.definition_rules import (
    Access,
    Placement,
    check_change,
    check_namespace,
    check_scope,
    duplicate,
    refuse_unknown,
    too_busy,
    unchanged,
)
from chalicelib.services.definition_store import DefinitionStore, is_id
from chalicelib.services.definition_texts import check_name
from chalicelib.services.ports import Clock, Delete, Entropy, Item, Put, Write

_ATTEMPTS_MAX: Final = 10
# Each dynamic action is three items: its record, its address, and its place among those of its source.
_DELETED_AT_ONCE: Final = 30


@dataclass(frozen=True, slots=True)
class ActionChange:
    """What is to change of a dynamic action; ``None`` leaves it as it is."""

    class_name: str | None = None
    code_source: str | None = None
    scope: str | None = None


class CodeSources:
    """The code sources and dynamic actions of all projects. Shared by the threads of a process."""

    def __init__(
        self, store: DefinitionStore, clock: Clock, entropy: Entropy, is_installed: Callable[[str], bool]
    ) -> None:
        """``is_installed`` says whether an action of a name is part of this installation."""
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._is_installed = is_installed

    # -- what executions and lists need

    def find_action(self, project_id: str, name: str, namespace: str) -> DynamicAction | None:
        """The dynamic action of a name: of this namespace, else of the default one; the project's own, else a public.

        One whose class or source is wrong is found as well; it says so when it is run.
        """
        for place in dict.fromkeys((namespace, "")):
            record = self._store.named(Kind.DYNAMIC_ACTION, project_id, place, name)
            record = record or self._store.public_named(Kind.DYNAMIC_ACTION, place, name)
            if record is not None:
                return self.action_of(record)
        return None

    def action_of(self, record: Definition) -> DynamicAction:
        """The dynamic action of a record, on the present text of its source."""
        content = _action_content(record)
        source = self._store.by_id(Kind.CODE_SOURCE, content.code_source_id)
        return DynamicAction.of(record.name, content.class_name, None if source is None else _python(source))

    def usable_actions(self, access: Access) -> list[tuple[Definition, DynamicAction]]:
        """The dynamic actions that a caller sees, without those that cannot be used; their number is bounded."""
        records = []
        project_id = None if access.is_admin else access.project_id
        for record in self._store.browse(Kind.DYNAMIC_ACTION, project_id, Order.NAME):
            records.append(record)
            if len(records) == limits.DYNAMIC_ACTIONS_LISTED_MAX:
                break
        wanted = {_action_content(record).code_source_id for record in records}
        sources = {source.id: _python(source) for source in self._store.by_ids(Kind.CODE_SOURCE, wanted)}
        found = [
            (record, DynamicAction.of(record.name, content.class_name, sources.get(content.code_source_id)))
            for record in records
            for content in [_action_content(record)]
        ]
        return [(record, action) for record, action in found if action.fault is None]

    def usable_action(self, access: Access, identifier: str, namespace: str) -> tuple[Definition, DynamicAction] | None:
        """The dynamic action of an id or a name, as an execution would find it; ``None`` where it cannot be used."""
        for place in dict.fromkeys((namespace, "")):
            record = self._find(Kind.DYNAMIC_ACTION, access, identifier, place)
            if record is not None:
                action = self.action_of(record)
                return (record, action) if action.fault is None else None
        return None

    # -- code sources

    def create_source(self, access: Access, name: str, body: bytes, placement: Placement) -> Definition:
        """Store a text under a name; its version is 1.

        Raises InputException, InvalidModelException, SizeLimitExceededException, NotAllowedException,
        DuplicateEntryException.
        """
        _check_placement(Kind.CODE_SOURCE, access, name, placement)
        new = self._new(Kind.CODE_SOURCE, access, name, placement, CodeSourceContent(_text(body)))
        self._create(new, lambda: ())
        return new

    def update_source(self, access: Access, identifier: str, body: bytes, placement: Placement) -> Definition:
        """Give a code source another text and this scope; its version is one more.

        Raises InputException, SizeLimitExceededException, NotAllowedException, NotFoundException.
        """
        check_scope(placement.scope, access)
        text = _text(body)
        for _ in range(_ATTEMPTS_MAX):
            old = self._writable(Kind.CODE_SOURCE, access, identifier, placement.namespace or "")
            assert isinstance(old.content, CodeSourceContent)
            content = CodeSourceContent(text, old.content.version + 1)
            new = self._touched(replace(old, content=content, scope=placement.scope))
            if self._written([Put(encode(new, self._store.payloads), expected=old.revision)]):
                return new
        raise too_busy(Kind.CODE_SOURCE, identifier)

    def delete_source(self, access: Access, identifier: str, namespace: str = "") -> None:
        """Remove a code source and every dynamic action made of it. Raises NotFoundException, NotAllowedException."""
        for _ in range(_ATTEMPTS_MAX):
            record = self._writable(Kind.CODE_SOURCE, access, identifier, namespace)
            self._delete_actions_of(record.id)
            if self._written(_removal(record)):
                # Those that were made in the meantime; from here on, none can be.
                self._delete_actions_of(record.id)
                return
        raise too_busy(Kind.CODE_SOURCE, identifier)

    def _delete_actions_of(self, source_id: str) -> None:
        while items := self._store.table.query(_users_partition(source_id), limit=_DELETED_AT_ONCE):
            records = self._store.by_ids(Kind.DYNAMIC_ACTION, (item.key for item in items))
            ours = [record for record in records if _action_content(record).code_source_id == source_id]
            gone = [(record.partition, record.name) for record in ours]
            gone += [(address.partition, address.key) for address in map(address_item, ours)]
            # The places go last: what an interrupted deletion has left is found again.
            self._store.table.write_bulk([], gone)
            self._store.table.write_bulk([], [(item.partition, item.key) for item in items])

    # -- dynamic actions

    def create_action(
        self, access: Access, name: str, class_name: str, code_source: str, placement: Placement
    ) -> Definition:
        """Make an action of a class in a code source (of an id, or of a name in the same namespace).

        Whether there is such a class is not looked at. Raises InputException, InvalidModelException, NotFoundException,
        NotAllowedException, DuplicateEntryException.
        """
        _check_placement(Kind.DYNAMIC_ACTION, access, name, placement)
        _check_class_name(class_name)
        if self._is_installed(name):
            raise InputException(f"'{name}' is an action of this installation; choose another name.")
        new = self._new(Kind.DYNAMIC_ACTION, access, name, placement, DynamicActionContent(class_name, code_source, ""))

        def with_source() -> tuple[Write, ...]:
            nonlocal new
            source = self._seen(Kind.CODE_SOURCE, access, code_source, placement.namespace or "")
            new = replace(new, content=DynamicActionContent(class_name, source.id, source.name))
            return Put(encode(new, self._store.payloads), expected=0), unchanged(source), Put(_place(new))

        self._create(new, with_source)
        return new

    def update_action(self, access: Access, identifier: str, change: ActionChange, namespace: str = "") -> Definition:
        """Change a dynamic action. Raises InputException, NotFoundException, NotAllowedException."""
        if change.scope is not None:
            check_scope(change.scope, access)
        if change.class_name is not None:
            _check_class_name(change.class_name)
        for _ in range(_ATTEMPTS_MAX):
            old = self._writable(Kind.DYNAMIC_ACTION, access, identifier, namespace)
            before = _action_content(old)
            content = replace(before, class_name=change.class_name or before.class_name)
            writes: list[Write] = []
            if change.code_source:
                source = self._seen(Kind.CODE_SOURCE, access, change.code_source, namespace)
                content = replace(content, code_source_id=source.id, code_source_name=source.name)
                writes.append(unchanged(source))
            new = self._touched(replace(old, content=content, scope=change.scope or old.scope))
            writes.append(Put(encode(new, self._store.payloads), expected=old.revision))
            if content.code_source_id != before.code_source_id:
                there, here = _place(old), _place(new)
                writes += [Delete(there.partition, there.key), Put(here)]
            if self._written(writes):
                return new
        raise too_busy(Kind.DYNAMIC_ACTION, identifier)

    def delete_action(self, access: Access, identifier: str, namespace: str = "") -> None:
        """Remove a dynamic action; its code source stays. Raises NotFoundException, NotAllowedException."""
        for _ in range(_ATTEMPTS_MAX):
            record = self._writable(Kind.DYNAMIC_ACTION, access, identifier, namespace)
            place = _place(record)
            if self._written([*_removal(record), Delete(place.partition, place.key)]):
                return
        raise too_busy(Kind.DYNAMIC_ACTION, identifier)

    # -- records

    def _new(self, kind: Kind, access: Access, name: str, placement: Placement, content: Content) -> Definition:
        identifier = str(UUID(bytes=self._entropy.token(), version=4))
        return Definition(
            kind=kind,
            id=identifier,
            name=name,
            namespace=placement.namespace or "",
            project_id=access.project_id,
            scope=placement.scope,
            created_at=round(self._clock.now(), 3),
            content=content,
            revision=first_revision(identifier),
        )

    def _create(self, new: Definition, more: Callable[[], Iterable[Write]]) -> None:
        """Store a record that must not be there yet; ``more`` is written with it, and may replace its own item."""
        address = (new.partition, new.name)
        for _ in range(_ATTEMPTS_MAX):
            writes: list[Write] = [*more()]
            if not writes:
                writes.append(Put(encode(new, self._store.payloads), expected=0))
            if self._written([*writes, Put(address_item(new))]):
                return
            if address in self._store.many([address]):
                raise duplicate(new)
        raise too_busy(new.kind, new.name)

    def _writable(self, kind: Kind, access: Access, identifier: str, namespace: str) -> Definition:
        record = self._seen(kind, access, identifier, namespace)
        check_change(record, access)
        return record

    def _seen(self, kind: Kind, access: Access, identifier: str, namespace: str) -> Definition:
        record = self._find(kind, access, identifier, namespace)
        if record is None:
            refuse_unknown(kind, identifier, namespace)
        return record

    def _find(self, kind: Kind, access: Access, identifier: str, namespace: str) -> Definition | None:
        """The record of an id, else of a name: the project's own, else a public one."""
        record = self._store.by_id(kind, identifier) if is_id(identifier) else None
        if record is None:
            record = self._store.named(kind, access.project_id, namespace, identifier)
            record = record or self._store.public_named(kind, namespace, identifier)
        return record if record is not None and access.sees(record) else None

    def _touched(self, new: Definition) -> Definition:
        return replace(new, revision=new.revision + 1, updated_at=round(self._clock.now(), 3))

    def _written(self, writes: list[Write]) -> bool:
        try:
            self._store.table.write(writes)
        except ConflictException:
            return False
        return True


def _removal(record: Definition) -> list[Write]:
    address = address_item(record)
    return [
        Delete(record.partition, record.name, expected=record.revision),
        Delete(address.partition, address.key),
    ]


def _users_partition(source_id: str) -> str:
    return f"source#{source_id}"


def _place(action: Definition) -> Item:
    """The item that tells a code source of a dynamic action."""
    return Item(_users_partition(_action_content(action).code_source_id), action.id, b"{}")


def _action_content(record: Definition) -> DynamicActionContent:
    assert isinstance(record.content, DynamicActionContent)
    return record.content


def _python(source: Definition) -> PythonSource:
    assert isinstance(source.content, CodeSourceContent)
    text = source.content.content
    return PythonSource(source.id, source.name, text, digest_of(text.encode("utf-8", "surrogatepass")))


# -- what may be stored


def _check_placement(kind: Kind, access: Access, name: str, placement: Placement) -> None:
    check_scope(placement.scope, access)
    check_namespace(placement.namespace or "")
    check_name(kind, name)
    if " " in name:
        title = kind.replace("_", " ").capitalize()
        raise InvalidModelException(f"{title} name '{name}' must not contain spaces.")


def _check_class_name(class_name: str) -> None:
    if not class_name.isidentifier() or len(class_name) > limits.NAME_CHARACTERS_MAX:
        raise InputException(f"'{class_name[:80]}' is no name of a Python class.")


def _text(body: bytes) -> str:
    if len(body) > limits.CODE_SOURCE_BYTES_MAX:
        raise SizeLimitExceededException(
            f"The code source has {len(body)} bytes; the most is {limits.CODE_SOURCE_BYTES_MAX}: split it."
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InputException(f"The code source is not UTF-8 (byte {error.start}); save it in that encoding.") from error
