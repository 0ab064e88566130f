"""Who may do what with definitions, and in which words it is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import (
    ConflictException,
    DuplicateEntryException,
    InputException,
    NotAllowedException,
    NotFoundException,
    SizeLimitExceededException,
)
from chalicelib.services.definition_records import PRIVATE, PUBLIC, Definition, EnvironmentContent, Kind
from chalicelib.services.ports import Check

_FORBIDDEN: Final = "Operation forbidden (insufficient permissions)"
_CLASSES: Final = {
    Kind.WORKFLOW: "WorkflowDefinition",
    Kind.WORKBOOK: "WorkbookDefinition",
    Kind.ACTION: "Action",
    Kind.ENVIRONMENT: "Environment",
    Kind.CODE_SOURCE: "CodeSource",
    Kind.DYNAMIC_ACTION: "DynamicActionDefinition",
}


@dataclass(frozen=True, slots=True)
class Access:
    """On whose behalf something is read or written."""

    project_id: str
    is_admin: bool = False

    def sees(self, record: Definition) -> bool:
        """Whether the record exists for the caller."""
        return record.is_public or self.may_change(record)

    def may_change(self, record: Definition) -> bool:
        """Whether the caller may change or remove it."""
        return self.is_admin or record.project_id == self.project_id


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a document goes. ``namespace`` ``None``: where the thing already is, else the default one."""

    namespace: str | None = None
    scope: str = PRIVATE
    skip_validation: bool = False


class WorkflowUsers(Protocol):
    """What depends on workflows without being a definition: triggers, and the projects that they are shared with."""

    def check_delete(self, workflow: Definition) -> Sequence[Check]:
        """Raise what refuses the deletion of a workflow that is in use; else what its deletion must demand."""

    def check_hide(self, workflow: Definition) -> None:
        """Raise what refuses to make a public workflow private while other projects use it."""

    def forget(self, workflow: Definition) -> None:
        """Remove what is left of a workflow that has been deleted."""

    def is_shared(self, workflow: Definition, project_id: str) -> bool:
        """Whether a project has accepted that a workflow is shared with it."""

    def shared_with(self, project_id: str) -> Sequence[str]:
        """The ids of the workflows that a project has accepted."""


class NobodyUses(WorkflowUsers):
    """No triggers and no sharing at all."""

    def check_delete(self, workflow: Definition) -> Sequence[Check]:  # noqa: ARG002
        """See ``WorkflowUsers``."""
        return ()

    def check_hide(self, workflow: Definition) -> None:
        """See ``WorkflowUsers``."""

    def forget(self, workflow: Definition) -> None:
        """See ``WorkflowUsers``."""

    def is_shared(self, workflow: Definition, project_id: str) -> bool:  # noqa: ARG002
        """See ``WorkflowUsers``."""
        return False

    def shared_with(self, project_id: str) -> Sequence[str]:  # noqa: ARG002
        """See ``WorkflowUsers``."""
        return ()


def unchanged(record: Definition) -> Check:
    """Demands, inside a transaction, that a record is as it was read, hence still there."""
    return Check(record.partition, record.name, record.revision)


def check_scope(scope: str, access: Access) -> None:
    """Refuse what is no scope, and publishing by anyone but an admin. Raises InputException, NotAllowedException."""
    if scope not in (PRIVATE, PUBLIC):
        raise InputException(f"Scope must be one of the following: {PRIVATE}, {PUBLIC}; actual: {scope[:80]}")
    if scope == PUBLIC and not access.is_admin:
        raise NotAllowedException(_FORBIDDEN)


def check_namespace(namespace: str) -> None:
    """Refuse a namespace that cannot be stored. Raises InputException."""
    if len(namespace) > limits.NAME_CHARACTERS_MAX:
        raise InputException(
            f"The namespace has {len(namespace)} characters; the most is {limits.NAME_CHARACTERS_MAX}."
        )
    if any("\ud800" <= character <= "\udfff" for character in namespace):
        raise InputException(f"The namespace {namespace!a} is not text: it has half of a surrogate pair.")


def check_environment(content: EnvironmentContent) -> None:
    """Refuse an environment that is too large. Raises SizeLimitExceededException."""
    for name, value in (("description", content.description), ("variables", content.variables)):
        size = len(json.dumps(value))
        if size > limits.FIELD_BYTES_MAX:
            raise SizeLimitExceededException(
                f"Field size limit exceeded [class=Environment, field={name}, size={size // 1024}KB, "
                f"limit={limits.FIELD_BYTES_MAX // 1024}KB]"
            )


def check_change(record: Definition, access: Access) -> None:
    """Refuse to let a caller change what another project owns. Raises NotAllowedException."""
    if not access.may_change(record):
        raise NotAllowedException(f"Can not access {_CLASSES[record.kind]} resource of other projects, ID: {record.id}")


def refuse_unknown(kind: Kind, identifier: str, namespace: str) -> NoReturn:
    """Raise NotFoundException, in Mistral's words for each kind."""
    text = {
        Kind.WORKFLOW: f"Workflow not found [workflow_identifier={identifier}, namespace={namespace}]",
        Kind.WORKBOOK: f"Workbook not found [name={identifier}, namespace={namespace}]",
        Kind.ACTION: f"Action definition not found [action_name={identifier}, namespace={namespace}]",
        Kind.ENVIRONMENT: f"Environment not found [name={identifier}]",
        Kind.CODE_SOURCE: f"Code source not found [identifier={identifier}, namespace={namespace}]",
        Kind.DYNAMIC_ACTION: f"Dynamic action not found [identifier={identifier}, namespace={namespace}]",
    }
    raise NotFoundException(text[kind])


def duplicate(record: Definition) -> DuplicateEntryException:
    """What refuses a second record under one name."""
    columns, values = ["name", "namespace", "project_id"], [record.name, record.namespace, record.project_id]
    if record.kind is Kind.ENVIRONMENT:
        del columns[1], values[1]
    return DuplicateEntryException(f"Duplicate entry for {_CLASSES[record.kind]} {columns}: {', '.join(values)}")


def too_busy(kind: Kind, name: str) -> ConflictException:
    """What a writer is told that lost too many races."""
    return ConflictException(f"The {kind} '{name}' is being changed by others at this moment; try again.")
