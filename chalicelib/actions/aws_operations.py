"""One operation of an AWS service as an action: its parameters, what is wrong with an input, and the call."""

from __future__ import annotations

import difflib
import html
import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any, Final

import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel, Shape
from botocore.paginate import PageIterator
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]

from chalicelib.actions.action import ActionContext, Parameter, Polling, check_names, signature_text
from chalicelib.actions.aws_calls import AwsCalls, Patience, fault_text
from chalicelib.actions.aws_values import faults_of, to_aws, to_json
from chalicelib.data import dataclass, replace
from chalicelib.errors import ActionException, InvalidActionException
from chalicelib.limits import ACTION_DESCRIPTION_CHARACTERS_MAX, AWS_PAGED_ITEMS_MAX, AWS_PAGES_MAX
from chalicelib.vocabulary import Json, JsonObject, Result

_IMPLEMENTATION: Final = "chalicelib.actions.aws.AwsAction"
_PARAGRAPH: Final = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]+>")
_JSON_TYPES: Final = {
    "structure": "object",
    "map": "object",
    "list": "array",
    "integer": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
}
REGION: Final = Parameter(
    "region", required=False, type="string", description="The AWS region, else the installation's own."
)
QUERY: Final = Parameter(
    "query", required=False, type="string", description="A JMESPath expression applied to the result."
)
ROLE_ARN: Final = Parameter(
    "role_arn", required=False, type="string", description="A role to act as; its trust policy sees the project's id."
)
_PAGINATE: Final = Parameter(
    "paginate", required=False, default=False, type="boolean", description="Fetch all pages as one result."
)


@dataclass(frozen=True, slots=True)
class AwsAction:
    """One operation of one service."""

    name: str
    service: str
    operation: str
    model: OperationModel
    calls: AwsCalls

    @property
    def accepts_any(self) -> bool:
        """Never."""
        return False

    @property
    def is_sync(self) -> bool:
        """Always: AWS's answer is the result."""
        return True

    @property
    def polling(self) -> Polling:
        """Never: it is one call."""
        return Polling.NEVER

    @property
    def label(self) -> str:
        """How the action is named in the text of an exception it raised."""
        return self.name

    @property
    def description(self) -> str:
        """The first paragraph of AWS's own description."""
        return _first_paragraph(self.model.documentation)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The members of the operation's input, required ones first, then the extras."""
        required = self._required
        own = [_parameter(name, shape, required=name in required) for name, shape in self._members.items()]
        return (*sorted(own, key=lambda parameter: not parameter.required), *self._shown_extras)

    @property
    def signature_text(self) -> str:
        """The API's ``input``."""
        return signature_text(self.parameters)

    def check(self, input: JsonObject) -> None:
        """Raise ``InvalidActionException`` for wrong names, and for concrete values that the model refuses."""
        try:
            check_names(self.name, _IMPLEMENTATION, self.parameters, input)
        except InvalidActionException as error:
            raise InvalidActionException(error.message + self._suggestions(input)) from error
        own, extras = self._split(input)
        faults = self._extra_faults(extras)
        if self.model.input_shape is not None:
            tokens = dict.fromkeys(self.model.idempotent_members, "x" * 64)
            faults += faults_of({**tokens, **own}, self.model.input_shape)
        if faults:
            raise InvalidActionException(
                f"Invalid input [name={self.name}, class={_IMPLEMENTATION}]: {'; '.join(faults)}"
            )

    def check_values(self, _input: JsonObject) -> None:
        """Nothing more than ``check`` finds."""

    def is_pure(self, _input: JsonObject) -> bool:
        """A call to AWS never is."""
        return False

    def duration_sec(self, _input: JsonObject) -> float:
        """Nothing is known beforehand."""
        return 0.0

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Call AWS. Raises ``ActionException`` with AWS's error code and message."""
        own, extras = self._split(input)
        try:
            client = self._client(extras, context)
            arguments, patience = self._arguments(own, context), self.calls.patience(context)
            if extras.get("paginate"):
                answer = _all_pages(client.get_paginator(self.operation), arguments, patience)
            else:
                answer = patience.with_call(lambda: getattr(client, self.operation)(**arguments))
            return Result(data=shown(answer, extras))
        except ClientError as error:
            raise ActionException(f"{self.name} failed: {fault_text(error)}") from error
        except (BotoCoreError, JMESPathError, ActionException) as error:
            raise ActionException(f"{self.name} failed: {error}") from error

    def _client(self, extras: JsonObject, context: ActionContext) -> Any:
        return self.calls.client(self.service, context, region=extras.get("region"), role_arn=extras.get("role_arn"))

    def _arguments(self, own: JsonObject, context: ActionContext) -> JsonObject:
        shape = self.model.input_shape
        return {} if shape is None else to_aws({**self._tokens(context), **own}, shape)

    @property
    def _members(self) -> dict[str, Shape]:
        return {} if self.model.input_shape is None else dict(self.model.input_shape.members)

    @property
    def _required(self) -> set[str]:
        shape = self.model.input_shape
        return set() if shape is None else set(shape.required_members) - set(self.model.idempotent_members)

    @property
    def _extras(self) -> tuple[Parameter, ...]:
        """The parameters that are ours, under their plain names."""
        return REGION, ROLE_ARN, QUERY, _PAGINATE

    @property
    def _shown_extras(self) -> tuple[Parameter, ...]:
        members = self._members
        return tuple(replace(p, name=f"aws_{p.name}") if p.name in members else p for p in self._extras)

    def _split(self, input: JsonObject) -> tuple[JsonObject, JsonObject]:
        """The operation's own parameters, and the extras under their plain names. A null is as good as nothing."""
        names = {shown.name: plain.name for shown, plain in zip(self._shown_extras, self._extras, strict=True)}
        own = {name: value for name, value in input.items() if name not in names and value is not None}
        return own, {names[name]: value for name, value in input.items() if name in names}

    def _tokens(self, context: ActionContext) -> dict[str, str]:
        """Idempotency tokens that a second run of the same action execution repeats, so that AWS acts once."""
        if context.action_execution_id is None:
            return {}
        return {
            name: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{name}/{context.action_execution_id}"))
            for name in self.model.idempotent_members
        }

    def _suggestions(self, input: JsonObject) -> str:
        # AWS's own come last here: where `RoleArn` is one, that is meant rather than our `role_arn`.
        known = {_bare(parameter.name): parameter.name for parameter in reversed(self.parameters)}
        hints = [
            f"did you mean {known[near[0]]} instead of {name}?"
            for name in input
            if name not in known.values() and (near := difflib.get_close_matches(_bare(name), known, n=1))
        ]
        return f": {' '.join(hints)}" if hints else ""

    def _extra_faults(self, extras: JsonObject) -> list[str]:
        faults: list[str] = []
        query, paginate = extras.get("query"), extras.get("paginate")
        faults += [
            f"{name} must be text"
            for name in ("region", "role_arn")
            if extras.get(name) is not None and not isinstance(extras[name], str)
        ]
        if isinstance(query, str) and not is_expression(query):
            try:
                jmespath.compile(query)
            except JMESPathError as error:
                faults.append(f"query is not a JMESPath expression: {error}")
        elif query is not None and not isinstance(query, str):
            faults.append("query must be text")
        if paginate and not self.calls.models.can_paginate(self.service, self.model.name):
            faults.append(f"paginate: {self.name} has no pages")
        if not (paginate is None or isinstance(paginate, bool) or is_expression(paginate)):
            faults.append("paginate must be true or false")
        return faults


def shown(answer: JsonObject, extras: JsonObject) -> Json:
    """An answer as the result: plain JSON, or what the query finds in it."""
    value = to_json({name: item for name, item in answer.items() if name != "ResponseMetadata"})
    query = extras.get("query")
    return jmespath.search(query, value) if query else value


def _all_pages(paginator: Any, arguments: JsonObject, patience: Patience) -> JsonObject:
    """All pages merged, as botocore does it; beyond the bound of items the result carries ``NextToken``."""

    class BoundedPages(PageIterator):  # type: ignore[misc]
        def __iter__(self) -> Iterator[Any]:
            for number, page in enumerate(super().__iter__()):
                if number >= AWS_PAGES_MAX:
                    raise ActionException(f"more than {AWS_PAGES_MAX} pages; narrow the request down")
                if patience.is_over:
                    raise ActionException("the time of the action was over before the last page")
                yield page

        def _make_request(self, current_kwargs: JsonObject) -> Any:
            return patience.with_call(lambda: PageIterator._make_request(self, current_kwargs))

    paginator.PAGE_ITERATOR_CLS = BoundedPages
    pages = paginator.paginate(**arguments, PaginationConfig={"MaxItems": AWS_PAGED_ITEMS_MAX})
    result: JsonObject = pages.build_full_result()
    return result


def _parameter(name: str, shape: Shape, *, required: bool) -> Parameter:
    kind = _JSON_TYPES.get(shape.type_name, "string")
    return Parameter(name, required, type=kind, description=_first_paragraph(shape.documentation))


def _first_paragraph(documentation: str | None) -> str:
    """AWS's HTML as one paragraph of text."""
    text = documentation or ""
    found = next((item for item in itertools.islice(_PARAGRAPH.findall(text), 5) if item.strip()), text)
    plain = " ".join(html.unescape(_TAG.sub("", found)).split())
    longest = ACTION_DESCRIPTION_CHARACTERS_MAX
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _bare(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def is_expression(value: Json) -> bool:
    """Whether a value is a text that is evaluated later."""
    return isinstance(value, str) and ("<%" in value or "{{" in value)
