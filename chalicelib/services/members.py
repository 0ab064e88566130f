"""Sharing: the projects with which a private workflow is shared, and whether they have accepted.

========================  ==============  ===========================================================
partition                 key             item (table ``definitions``)
========================  ==============  ===========================================================
members#workflow          project         a member; once accepted, in the index of what it has accepted
========================  ==============  ===========================================================
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final
from uuid import UUID

from chalicelib import limits
from chalicelib.data import dataclass, replace
from chalicelib.errors import ConflictException, DuplicateEntryException, NotFoundException, WorkflowException
from chalicelib.services.definition_records import PRIVATE, Kind, escaped, first_revision
from chalicelib.services.definition_rules import Access, check_change, unchanged
from chalicelib.services.definitions import Definitions
from chalicelib.services.ports import INDEX_LISTING, Clock, Delete, Entropy, IndexKey, Item, Put, Table

_ATTEMPTS_MAX: Final = 10
_RESOURCE_TYPE: Final = "workflow"


class MemberStatus(StrEnum):
    """What a member has answered."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Member:
    """A project with which a workflow is shared; ``project_id`` is the owner. Times are seconds since the epoch."""

    id: str
    resource_id: str
    project_id: str
    member_id: str
    status: MemberStatus
    created_at: float
    updated_at: float | None = None
    revision: int = 1

    @property
    def resource_type(self) -> str:
        """What is shared."""
        return _RESOURCE_TYPE


class MemberStore:
    """Reads and writes members; who may do what is decided above."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def get(self, workflow_id: str, member_id: str) -> Member | None:
        """A member of a workflow, as it is now."""
        if not _can_be_member(member_id):
            return None
        item = self.table.get(_partition(workflow_id), [member_id]).get(member_id)
        return None if item is None else _decode(item)

    def all_of(self, workflow_id: str) -> list[Member]:
        """All members of a workflow, the oldest first."""
        items = self.table.query(_partition(workflow_id), limit=limits.MEMBERS_PER_WORKFLOW_MAX)
        return sorted(map(_decode, items), key=lambda member: (member.created_at, member.id))

    def accepted_by(self, project_id: str) -> list[str]:
        """The ids of the workflows that a project has accepted; one that it accepted a moment ago may be missing."""
        entries = self.table.list_index(*_accepted_list(project_id), limit=limits.SHARES_ACCEPTED_MAX)
        # The index follows a little later; what was taken back meanwhile must not be seen.
        found = self.table.get_many([(entry.partition, entry.key) for entry in entries], consistent=True)
        members = map(_decode, found.values())
        return [member.resource_id for member in members if member.status is MemberStatus.ACCEPTED]

    def forget(self, workflow_id: str) -> None:
        """Remove all members of a workflow."""
        items = self.table.query(_partition(workflow_id))
        if items:
            self.table.write_bulk([], [(item.partition, item.key) for item in items])


class Members:
    """The members of all workflows."""

    def __init__(self, store: MemberStore, definitions: Definitions, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._definitions = definitions
        self._clock = clock
        self._entropy = entropy

    def add(self, access: Access, workflow_id: str, member_id: str) -> Member:
        """Offer a private workflow to a project.

        Raises NotFoundException, NotAllowedException where the workflow is another project's, WorkflowException for a
        public one and for too many members, DuplicateEntryException.
        """
        if not _can_be_member(member_id):
            raise WorkflowException(f"Member id must have 1 to {limits.NAME_CHARACTERS_MAX} characters.")
        for _ in range(_ATTEMPTS_MAX):
            workflow = self._definitions.get(Kind.WORKFLOW, access, workflow_id)
            check_change(workflow, access)
            if workflow.scope != PRIVATE:
                raise WorkflowException("Only private resource could be shared.")
            if len(self._store.all_of(workflow.id)) >= limits.MEMBERS_PER_WORKFLOW_MAX:
                raise WorkflowException(
                    f"The workflow has {limits.MEMBERS_PER_WORKFLOW_MAX} members, the most that there may be; "
                    "remove some, or make it public."
                )
            identifier = str(UUID(bytes=self._entropy.token(), version=4))
            member = Member(
                id=identifier,
                resource_id=workflow.id,
                project_id=workflow.project_id,
                member_id=member_id,
                status=MemberStatus.PENDING,
                created_at=round(self._clock.now(), 3),
                revision=first_revision(identifier),
            )
            try:
                self._store.table.write([Put(_encode(member), expected=0), unchanged(workflow)])
                return member
            except ConflictException:
                if self._store.get(workflow.id, member_id) is not None:
                    raise DuplicateEntryException(
                        "Duplicate entry for ResourceMember ['resource_id', 'resource_type', 'member_id']: "
                        f"{workflow.id}, {_RESOURCE_TYPE}, {member_id}"
                    ) from None
        raise _too_busy(workflow_id)

    def all_of(self, access: Access, workflow_id: str) -> list[Member]:
        """The members of a workflow: all of them for its owner, for a member itself alone, for others none."""
        found = self._store.all_of(workflow_id)
        return [member for member in found if access.project_id in (member.project_id, member.member_id)]

    def get(self, access: Access, workflow_id: str, member_id: str) -> Member:
        """A member, for the owner of the workflow and for the member itself. Raises NotFoundException."""
        member = self._store.get(workflow_id, member_id)
        if member is None or access.project_id not in (member.project_id, member.member_id):
            raise _unknown(workflow_id, member_id)
        return member

    def answer(self, access: Access, workflow_id: str, member_id: str, status: MemberStatus) -> Member:
        """What the member itself says to the offer.

        Raises NotFoundException for everyone else, WorkflowException for one that has accepted too many.
        """
        for _ in range(_ATTEMPTS_MAX):
            member = self._store.get(workflow_id, member_id)
            if member is None or member_id != access.project_id:
                raise _unknown(workflow_id, member_id)
            if member.status is status:
                return member
            if status is MemberStatus.ACCEPTED and (
                len(self._store.accepted_by(member_id)) >= limits.SHARES_ACCEPTED_MAX
            ):
                raise WorkflowException(
                    f"The project has accepted {limits.SHARES_ACCEPTED_MAX} shared workflows, the most that there may "
                    "be; reject some first."
                )
            now = round(self._clock.now(), 3)
            answered = replace(member, status=status, updated_at=now, revision=member.revision + 1)
            try:
                self._store.table.write([Put(_encode(answered), expected=member.revision)])
                return answered
            except ConflictException:
                continue
        raise _too_busy(workflow_id)

    def remove(self, access: Access, workflow_id: str, member_id: str) -> None:
        """Take the offer back, be it accepted or not. Raises NotFoundException for all but the workflow's owner."""
        for _ in range(_ATTEMPTS_MAX):
            member = self._store.get(workflow_id, member_id)
            if member is None or member.project_id != access.project_id:
                raise _unknown(workflow_id, member_id)
            try:
                self._store.table.write([Delete(_partition(workflow_id), member_id, expected=member.revision)])
                return
            except ConflictException:
                continue
        raise _too_busy(workflow_id)


def _partition(workflow_id: str) -> str:
    return f"members#{workflow_id}"


def _accepted_list(project_id: str) -> tuple[str, str]:
    return INDEX_LISTING, f"{escaped(project_id)}#accepted"


def _encode(member: Member) -> Item:
    body = {
        "id": member.id,
        "project_id": member.project_id,
        "status": member.status,
        "created_at": member.created_at,
        "updated_at": member.updated_at,
    }
    places = {}
    if member.status is MemberStatus.ACCEPTED:
        index, value = _accepted_list(member.member_id)
        places[index] = IndexKey(value, f"{member.created_at:017.3f}|{member.resource_id}")
    return Item(
        _partition(member.resource_id), member.member_id, json.dumps(body).encode(), member.revision, indexes=places
    )


def _decode(item: Item) -> Member:
    body = json.loads(item.body)
    return Member(
        id=body["id"],
        resource_id=item.partition.partition("#")[2],
        project_id=body["project_id"],
        member_id=item.key,
        status=MemberStatus(body["status"]),
        created_at=body["created_at"],
        updated_at=body["updated_at"],
        revision=item.revision,
    )


def _can_be_member(member_id: str) -> bool:
    is_text = not any("\ud800" <= character <= "\udfff" for character in member_id)
    return is_text and 0 < len(member_id) <= limits.NAME_CHARACTERS_MAX


def _unknown(workflow_id: str, member_id: str) -> NotFoundException:
    return NotFoundException(f"Resource member not found [resource_id={workflow_id}, member_id={member_id}]")


def _too_busy(workflow_id: str) -> ConflictException:
    return ConflictException(f"The members of workflow {workflow_id} are being changed at this moment; try again.")
