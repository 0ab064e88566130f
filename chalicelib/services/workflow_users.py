"""What depends on workflows without being a definition: triggers, and the projects that they are shared with."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.errors import NotAllowedException, WorkflowException
from chalicelib.services.definition_records import Definition
from chalicelib.services.definition_rules import WorkflowUsers
from chalicelib.services.members import MemberStatus, MemberStore
from chalicelib.services.ports import Check
from chalicelib.services.trigger_records import TriggerKind
from chalicelib.services.trigger_store import TriggerStore

_SHOWN_MAX = 100


class TriggersAndMembers(WorkflowUsers):
    """Speaks for triggers and members when definitions are changed or looked for."""

    def __init__(self, triggers: TriggerStore, members: MemberStore) -> None:
        self._triggers = triggers
        self._members = members

    def check_delete(self, workflow: Definition) -> Sequence[Check]:
        """See ``WorkflowUsers``. Raises WorkflowException, in Mistral's words."""
        version = self._triggers.version_of_users(workflow.id)
        users = self._triggers.users_of(workflow.id)
        for kind, words in ((TriggerKind.CRON, "cron"), (TriggerKind.EVENT, "event")):
            found = [user.trigger_id for user in users if user.kind is kind]
            if found:
                place = f", namespace={workflow.namespace}" if kind is TriggerKind.CRON else ""
                shown = ", ".join(found[:_SHOWN_MAX])
                raise WorkflowException(
                    f"Can't delete workflow that has {words} triggers associated. "
                    f"[workflow_identifier={workflow.name}{place}], [{words}_trigger_id(s)={shown}]"
                )
        return [self._triggers.same_users(workflow.id, version)]

    def check_hide(self, workflow: Definition) -> None:
        """See ``WorkflowUsers``. Raises NotAllowedException, in Mistral's words."""
        for user in self._triggers.users_of(workflow.id):
            if user.project_id != workflow.project_id:
                words = user.kind.replace("_", " ")
                raise NotAllowedException(
                    f"Can not update scope of workflow that has {words}s associated in other tenants. "
                    f"[workflow_identifier={workflow.name}, namespace={workflow.namespace}]"
                )

    def forget(self, workflow: Definition) -> None:
        """See ``WorkflowUsers``."""
        self._members.forget(workflow.id)

    def is_shared(self, workflow: Definition, project_id: str) -> bool:
        """See ``WorkflowUsers``."""
        member = self._members.get(workflow.id, project_id)
        return member is not None and member.status is MemberStatus.ACCEPTED

    def shared_with(self, project_id: str) -> Sequence[str]:
        """See ``WorkflowUsers``."""
        return self._members.accepted_by(project_id)
