"""Workbooks, workflows, ad-hoc actions and environments: who may see and change them, and how they are stored.

A document is stored as a whole or not at all. Of several writers at once one is the first and the others notice:
a second creation is a duplicate, a second update decides again on what the first one left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal
from uuid import UUID

from chalicelib.data import dataclass, replace
from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.engine.plan import Plan
from chalicelib.errors import ConflictException, InputException
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.lang.specs import ActionSpec
from chalicelib.services.code_sources import CodeSources
from chalicelib.services.definition_records import (
    PRIVATE,
    Content,
    Definition,
    EnvironmentContent,
    Kind,
    Order,
    WorkflowContent,
    address_item,
    encode,
    facts_of,
    first_revision,
    spec_of,
)
from chalicelib.services.definition_rules import (
    Access,
    NobodyUses,
    Placement,
    WorkflowUsers,
    check_change,
    check_environment,
    check_namespace,
    check_scope,
    duplicate,
    refuse_unknown,
    too_busy,
)
from chalicelib.services.definition_store import DefinitionStore, is_id, merged
from chalicelib.services.definition_texts import Draft, Verdict, check_name, decoded, drafts_of, judge
from chalicelib.services.ports import Check, Clock, Delete, Entropy, Payloads, Put, Table, Write
from chalicelib.services.static_checks import StaticChecks
from chalicelib.vocabulary import JsonObject

__all__ = ["Access", "Definitions", "NobodyUses", "Placement", "WorkflowUsers"]

ValidationMode = Literal["mandatory", "enabled", "disabled"]

_ATTEMPTS_MAX: Final = 10
_FORMER_NAMES_MAX: Final = 20
_FOUND_BY_ID: Final = (Kind.WORKFLOW, Kind.ACTION, Kind.CODE_SOURCE, Kind.DYNAMIC_ACTION)


@dataclass(frozen=True, slots=True)
class _Change:
    """One record to write; ``old`` is what it replaces."""

    new: Definition
    old: Definition | None = None

    @property
    def takes_name(self) -> bool:
        """Whether the name must be free."""
        return self.old is None or (self.old.name, self.old.namespace) != (self.new.name, self.new.namespace)


class Definitions:
    """The definitions of all projects. Shared by the threads of a process."""

    def __init__(
        self,
        table: Table,
        payloads: Payloads,
        clock: Clock,
        entropy: Entropy,
        *,
        options: Options = DEFAULT,
        validation_mode: ValidationMode = "mandatory",
        users: WorkflowUsers | None = None,
        is_installed: Callable[[str], bool] = lambda _name: False,
        static_checks: StaticChecks | None = None,
    ) -> None:
        self._static_checks = static_checks
        self._store = DefinitionStore(table, payloads)
        self._clock = clock
        self._entropy = entropy
        self._options = options
        self._validation_mode = validation_mode
        self.users: WorkflowUsers = users or NobodyUses()
        self.code_sources = CodeSources(self._store, clock, entropy, is_installed)

    # -- what executions need

    def find_workflow(self, project_id: str, name: str, namespace: str) -> WorkflowFacts | None:
        """The workflow of exactly this name and namespace: the project's own, else a public one."""
        record = self._visible_named(Kind.WORKFLOW, project_id, name, namespace)
        return None if record is None else facts_of(record)

    def workflow_for_start(self, project_id: str, identifier: str, namespace: str) -> WorkflowFacts:
        """The workflow of an id (then the namespace does not matter) or of a name. Raises NotFoundException."""
        return facts_of(self.get(Kind.WORKFLOW, Access(project_id), identifier, namespace))

    def find_action(self, project_id: str, name: str, namespace: str, *, is_fresh: bool = True) -> ActionSpec | None:
        """The ad-hoc action of exactly this name and namespace: the project's own, else a public one.

        One that was created a moment ago may be missed if the answer need not be fresh, which costs half.
        """
        own = self._store.named(Kind.ACTION, project_id, namespace, name, is_fresh=is_fresh)
        record = own or self._store.public_named(Kind.ACTION, namespace, name)
        return None if record is None else spec_of(record)

    def names_of_workflow(self, identifier: str) -> tuple[str, ...] | None:
        """The names that executions of a workflow, whoever owns it, can have; ``None`` if that is not known (any more).

        For choosing an index only: it says nothing of what the caller may see.
        """
        record = self._store.by_id(Kind.WORKFLOW, identifier) if is_id(identifier) else None
        if record is None or not isinstance(record.content, WorkflowContent):
            return None
        former = record.content.former_names
        return (record.name, *former) if len(former) < _FORMER_NAMES_MAX else None

    def plan(self, definition_hash: str) -> Plan:
        """The compiled workflow that was stored under this hash. Raises NotFoundException."""
        return self._store.plan(definition_hash)

    def environment(self, project_id: str, name: str) -> JsonObject | None:
        """The variables of an environment: the project's own, else of a public one."""
        record = self._visible_named(Kind.ENVIRONMENT, project_id, name, "")
        if record is None:
            return None
        assert isinstance(record.content, EnvironmentContent)
        return record.content.variables or {}

    # -- reading

    def get(self, kind: Kind, access: Access, identifier: str, namespace: str = "") -> Definition:
        """The definition of an id (where the kind allows it) or of a name. Raises NotFoundException."""
        record = self._find(kind, access, identifier, namespace)
        if record is None:
            refuse_unknown(kind, identifier, namespace)
        return record

    def find_id(self, kind: Kind, access: Access, identifier: str) -> Definition | None:
        """The definition of an id, if there is one that the caller may see."""
        record = self._store.by_id(kind, identifier) if is_id(identifier) else None
        return record if record is not None and self._sees(access, record) else None

    def browse(
        self,
        kind: Kind,
        access: Access,
        order: Order = Order.CREATED_AT,
        *,
        descending: bool = False,
        after: Definition | None = None,
        name: str | None = None,
    ) -> Iterator[Definition]:
        """What the caller may see of a kind, read as far as it is asked for; see ``DefinitionStore.browse``.

        Of workflows also those that others share with the caller.
        """
        project_id = None if access.is_admin else access.project_id
        found = self._store.browse(kind, project_id, order, descending=descending, after=after, name=name)
        if kind is not Kind.WORKFLOW or project_id is None:
            return found
        shared = [
            record
            for record in self._store.by_ids(kind, self.users.shared_with(project_id))
            if not access.sees(record) and name in (None, record.name)
        ]
        return merged(found, shared, order, descending=descending, after=after) if shared else found

    def judge(self, kind: Kind, body: bytes) -> Verdict:
        """Whether this could be stored, and what is wrong or suspicious. Never raises for what is in the body."""
        return judge(kind, body, options=self._options, static_checks=self._static_checks)

    # -- writing documents

    def create(self, kind: Kind, access: Access, body: bytes, placement: Placement) -> list[Definition]:
        """Store what a document defines, and give the records.

        Of a workbook the record itself comes first; what it contains replaces what is there under the same names.
        Raises DefinitionError, InputException, NotAllowedException, DuplicateEntryException.
        """
        drafts = self._drafts(kind, access, body, placement)
        new = [self._new(draft, access.project_id, placement.namespace or "", placement.scope) for draft in drafts]
        for _ in range(_ATTEMPTS_MAX):
            if kind is Kind.WORKBOOK:
                changes = [_Change(new[0]), *self._upserted(new[1:])]
            else:
                changes = [_Change(record) for record in new]
            if self._saved(changes, drafts):
                return [change.new for change in changes]
            self._refuse_duplicates(changes[:1] if kind is Kind.WORKBOOK else changes)
        raise too_busy(kind, new[0].name)

    def update(
        self, kind: Kind, access: Access, body: bytes, placement: Placement, identifier: str | None = None
    ) -> list[Definition]:
        """Replace what a document defines, give it this scope, and give the records.

        Everything must exist. With an identifier the document defines one thing, which may get another name.
        Raises DefinitionError, InputException, NotAllowedException, NotFoundException, DuplicateEntryException.
        """
        drafts = self._drafts(kind, access, body, placement)
        if identifier is not None and len(drafts) > 1:
            raise InputException(
                f"More than one {kind}s are not supported for update with identifier. [identifier: {identifier}]"
            )
        named = drafts[:1] if kind is Kind.WORKBOOK else drafts
        for _ in range(_ATTEMPTS_MAX):
            changes = []
            for draft in named:
                old = self._writable(kind, access, identifier or draft.name, placement.namespace or "")
                changes.append(self._changed(old, draft, placement))
            main = list(changes)
            if kind is Kind.WORKBOOK:
                owner, namespace = main[0].new.project_id, main[0].new.namespace
                children = [self._new(draft, owner, namespace, placement.scope) for draft in drafts[1:]]
                changes += self._upserted(children)
            if self._saved(changes, drafts):
                return [change.new for change in changes]
            self._refuse_duplicates([change for change in main if change.takes_name])
        raise too_busy(kind, drafts[0].name)

    def delete(self, kind: Kind, access: Access, identifier: str, namespace: str = "") -> None:
        """Remove one definition; of a workbook nothing but its own record.

        Raises NotFoundException, NotAllowedException, and what the users of a workflow raise.
        """
        for _ in range(_ATTEMPTS_MAX):
            record = self._writable(kind, access, identifier, namespace)
            demands: Sequence[Check] = ()
            if kind is Kind.WORKFLOW:
                demands = self.users.check_delete(record)
            address = address_item(record)
            removal = Delete(record.partition, record.name, expected=record.revision)
            try:
                self._store.table.write([removal, Delete(address.partition, address.key), *demands])
            except ConflictException:
                continue
            if kind is Kind.WORKFLOW:
                self.users.forget(record)
            return
        raise too_busy(kind, identifier)

    # -- writing environments

    def create_environment(
        self, access: Access, name: str, content: EnvironmentContent, scope: str = PRIVATE
    ) -> Definition:
        """Store a new environment.

        Raises InvalidModelException, SizeLimitExceededException, NotAllowedException, DuplicateEntryException.
        """
        check_scope(scope, access)
        check_name(Kind.ENVIRONMENT, name)
        check_environment(content)
        change = _Change(self._new(Draft(Kind.ENVIRONMENT, name, content), access.project_id, "", scope))
        for _ in range(_ATTEMPTS_MAX):
            if self._saved([change]):
                return change.new
            self._refuse_duplicates([change])
        raise too_busy(Kind.ENVIRONMENT, name)

    def update_environment(
        self, access: Access, name: str, content: EnvironmentContent, scope: str | None = None
    ) -> Definition:
        """Replace what is given and leave the rest.

        Raises NotFoundException, NotAllowedException, SizeLimitExceededException.
        """
        if scope is not None:
            check_scope(scope, access)
        check_environment(content)
        for _ in range(_ATTEMPTS_MAX):
            old = self._writable(Kind.ENVIRONMENT, access, name, "")
            assert isinstance(old.content, EnvironmentContent)
            merged = EnvironmentContent(
                old.content.description if content.description is None else content.description,
                old.content.variables if content.variables is None else content.variables,
            )
            change = self._touched(old, replace(old, content=merged, scope=scope or old.scope))
            if self._saved([change]):
                return change.new
        raise too_busy(Kind.ENVIRONMENT, name)

    # -- finding

    def _sees(self, access: Access, record: Definition) -> bool:
        if access.sees(record):
            return True
        return record.kind is Kind.WORKFLOW and self.users.is_shared(record, access.project_id)

    def _visible_named(self, kind: Kind, project_id: str, name: str, namespace: str) -> Definition | None:
        own = self._store.named(kind, project_id, namespace, name)
        return own or self._store.public_named(kind, namespace, name)

    def _find(self, kind: Kind, access: Access, identifier: str, namespace: str) -> Definition | None:
        if kind in _FOUND_BY_ID and is_id(identifier):
            record = self._store.by_id(kind, identifier)
            if record is not None:
                return record if self._sees(access, record) else None
        return self._visible_named(kind, access.project_id, identifier, namespace)

    def _writable(self, kind: Kind, access: Access, identifier: str, namespace: str) -> Definition:
        record = self.get(kind, access, identifier, namespace)
        check_change(record, access)
        return record

    # -- making records

    def _drafts(self, kind: Kind, access: Access, body: bytes, placement: Placement) -> list[Draft]:
        check_scope(placement.scope, access)
        check_namespace(placement.namespace or "")
        skips = self._validation_mode == "enabled" and placement.skip_validation and kind is not Kind.ACTION
        validate = self._validation_mode != "disabled" and not skips
        text = decoded(body)
        drafts = drafts_of(kind, text, validate=validate, options=self._options)
        if validate and self._static_checks is not None:
            namespace = placement.namespace or ""
            self._static_checks.check(text, lambda name: self._is_ad_hoc(access.project_id, name, namespace))
        return drafts

    def _is_ad_hoc(self, project_id: str, name: str, namespace: str) -> bool:
        return any(self.find_action(project_id, name, place) is not None for place in {namespace, ""})

    def _new(self, draft: Draft, project_id: str, namespace: str, scope: str) -> Definition:
        identifier = str(UUID(bytes=self._entropy.token(), version=4))
        return Definition(
            kind=draft.kind,
            id=identifier,
            name=draft.name,
            namespace=namespace,
            project_id=project_id,
            scope=scope,
            created_at=round(self._clock.now(), 3),
            content=draft.content,
            revision=first_revision(identifier),
        )

    def _changed(self, old: Definition, draft: Draft, placement: Placement) -> _Change:
        namespace = old.namespace if placement.namespace is None else placement.namespace
        content = _remembering(old, draft.name, draft.content)
        new = replace(old, name=draft.name, namespace=namespace, scope=placement.scope, content=content)
        return self._touched(old, new)

    def _touched(self, old: Definition, new: Definition) -> _Change:
        """As in Mistral, a write that changes nothing does not change ``updated_at`` either.

        Raises what refuses to hide a workflow that others use.
        """
        if new.kind is Kind.WORKFLOW and old.is_public and not new.is_public:
            self.users.check_hide(old)
        updated_at = old.updated_at if new == old else round(self._clock.now(), 3)
        return _Change(replace(new, revision=old.revision + 1, updated_at=updated_at), old)

    def _upserted(self, children: Sequence[Definition]) -> list[_Change]:
        """What a workbook contains, each as a new record or as the change of the one that is there."""
        existing = self._store.many([(child.partition, child.name) for child in children])
        changes = []
        for child in children:
            old = existing.get((child.partition, child.name))
            if old is None:
                changes.append(_Change(child))
            else:
                content = _remembering(old, child.name, child.content)
                changes.append(self._touched(old, replace(old, scope=child.scope, content=content)))
        return changes

    def _saved(self, changes: Sequence[_Change], drafts: Sequence[Draft] = ()) -> bool:
        """Write all or nothing; whether every record was as it had been read."""
        self._store.keep_snapshots(draft.snapshot for draft in drafts if draft.snapshot)
        writes: list[Write] = []
        for change in changes:
            item = encode(change.new, self._store.payloads)
            if change.old is not None and not change.takes_name:
                writes.append(Put(item, expected=change.old.revision))
            else:
                writes += [Put(item, expected=0)]
                if change.old is not None:
                    writes.append(Delete(change.old.partition, change.old.name, expected=change.old.revision))
            # The places in the lists of all projects follow the name; the address itself follows a move.
            if change.takes_name:
                writes.append(Put(address_item(change.new)))
        try:
            self._store.table.write(writes)
        except ConflictException:
            return False
        return True

    def _refuse_duplicates(self, changes: Sequence[_Change]) -> None:
        found = self._store.many([(change.new.partition, change.new.name) for change in changes])
        for change in changes:
            if (change.new.partition, change.new.name) in found:
                raise duplicate(change.new)


def _remembering(old: Definition, name: str, content: Content) -> Content:
    """The new content of a record, which still tells the names that a workflow has had."""
    if not isinstance(old.content, WorkflowContent) or not isinstance(content, WorkflowContent):
        return content
    names = [former for former in old.content.former_names if former != name]
    names += [old.name] if old.name not in (name, *names) else []
    return replace(content, former_names=tuple(names[-_FORMER_NAMES_MAX:]))
