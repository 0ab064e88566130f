"""Definition texts as drafts of records: parsed and checked, but not yet stored and not yet anyone's."""

from __future__ import annotations

import hashlib
import json

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import DefinitionError, DSLParsingException, Fault, InvalidModelException
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.lang.parser import (
    definition_texts,
    parse_action_list,
    parse_workbook,
    parse_workflow_list,
    warnings,
    workbook_definition_texts,
)
from chalicelib.lang.specs import ActionSpec, WorkflowSpec
from chalicelib.services.definition_records import (
    ActionContent,
    Content,
    Kind,
    WorkbookContent,
    WorkflowContent,
    digest_of,
)
from chalicelib.services.static_checks import StaticChecks

__all__ = ["Draft", "Verdict", "check_name", "decoded", "drafts_of", "judge"]


@dataclass(frozen=True, slots=True)
class Draft:
    """One thing that a document defines. ``snapshot`` is the data of a workflow's spec, as JSON."""

    kind: Kind
    name: str
    content: Content
    snapshot: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a text: every fault of one that is refused, or the pitfalls of one that is accepted."""

    error: str | None = None
    warnings: tuple[Fault, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the text could be stored."""
        return self.error is None


def decoded(body: bytes) -> str:
    """The text in the bytes of a request. Raises DSLParsingException if it is too large or not UTF-8."""
    if len(body) > limits.DEFINITION_BYTES_MAX:
        raise DSLParsingException(
            f"Definition could not be parsed: the text has {len(body)} bytes; the most is "
            f"{limits.DEFINITION_BYTES_MAX}: split it."
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise DSLParsingException(
            f"Definition could not be parsed: the text is not UTF-8 (byte {error.start}); save it in that encoding."
        ) from error


def drafts_of(kind: Kind, text: str, *, validate: bool = True, options: Options = DEFAULT) -> list[Draft]:
    """Everything that a document defines; of a workbook, the workbook itself comes first.

    Raises DSLParsingException or InvalidModelException, with every fault.
    """
    if kind is Kind.WORKFLOW:
        workflows = parse_workflow_list(text, validate=validate, options=options)
        texts = definition_texts(text, workflows)
        drafts = [_workflow(spec, spec.name, texts[spec.name]) for spec in workflows]
    elif kind is Kind.ACTION:
        actions = parse_action_list(text, validate=validate, options=options)
        texts = definition_texts(text, actions)
        drafts = [_action(spec, spec.name, texts[spec.name]) for spec in actions]
        _check_answer(text, len(drafts))
    else:
        assert kind is Kind.WORKBOOK, "an environment is no document"
        drafts = _workbook(text, validate=validate, options=options)
    if len(drafts) > limits.DEFINITIONS_PER_DOCUMENT_MAX:
        raise InvalidModelException(
            f"A document may define {limits.DEFINITIONS_PER_DOCUMENT_MAX} things, since it is stored as a whole or not "
            f"at all; this one defines {len(drafts)}: split it."
        )
    for draft in drafts:
        check_name(draft.kind, draft.name)
    return drafts


def _check_answer(text: str, actions: int) -> None:
    """Refuse actions that could be stored but not answered: each of them shows the whole text."""
    characters = len(json.dumps(text)) * actions
    if actions > 1 and characters > limits.RESPONSE_BYTES_MAX // 2:
        raise InvalidModelException(
            f"Each of the {actions} actions keeps this whole text of {len(text)} characters, which makes "
            f"{characters}; the most is {limits.RESPONSE_BYTES_MAX // 2}: split it."
        )


def judge(kind: Kind, body: bytes, *, options: Options = DEFAULT, static_checks: StaticChecks | None = None) -> Verdict:
    """What ``validate`` answers. Never raises for what is in the body."""
    try:
        text = decoded(body)
        drafts_of(kind, text, options=options)
        if static_checks is not None:
            static_checks.check(text, lambda _name: False)
        return Verdict(warnings=warnings(text))
    except DefinitionError as error:
        return Verdict(error=error.message)


def check_name(kind: Kind, name: str) -> None:
    """Refuse a name that cannot be stored. Raises InvalidModelException."""
    most = limits.ENVIRONMENT_NAME_CHARACTERS_MAX if kind is Kind.ENVIRONMENT else limits.NAME_CHARACTERS_MAX
    title = kind.capitalize()
    if not name:
        raise InvalidModelException(f"{title} name must not be empty.")
    if len(name) > most:
        raise InvalidModelException(f"{title} name '{name[:40]}...' has {len(name)} characters; the most is {most}.")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise InvalidModelException(f"{title} name {name!a} is not text: it has half of a surrogate pair.")


def _workflow(spec: WorkflowSpec, name: str, text: str, workbook_name: str | None = None) -> Draft:
    snapshot = json.dumps(spec.data, separators=(",", ":")).encode()
    checksum = None
    if workbook_name is None:
        # Mistral's checksum, which clients compare; nothing rests on its strength.
        checksum = hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    content = WorkflowContent(
        definition=text,
        definition_hash=digest_of(snapshot),
        input=spec.input,
        output=tuple(spec.output or ()),
        tags=spec.tags,
        checksum=checksum,
        workbook_name=workbook_name,
    )
    return Draft(Kind.WORKFLOW, name, content, snapshot)


def _action(spec: ActionSpec, name: str, text: str) -> Draft:
    return Draft(Kind.ACTION, name, ActionContent(text, dict(spec.data), spec.tags, spec.description))


def _workbook(text: str, *, validate: bool, options: Options) -> list[Draft]:
    spec = parse_workbook(text, validate=validate, options=options)
    workflow_texts, action_texts = workbook_definition_texts(text, spec)
    return [
        Draft(Kind.WORKBOOK, spec.name, WorkbookContent(text, spec.tags)),
        *(_action(one, f"{spec.name}.{name}", action_texts[name]) for name, one in spec.actions.items()),
        *(
            _workflow(one, f"{spec.name}.{name}", workflow_texts[name], workbook_name=spec.name)
            for name, one in spec.workflows.items()
        ),
    ]
