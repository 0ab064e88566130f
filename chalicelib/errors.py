"""One tree of errors, named as Mistral names them.

Each class knows the HTTP status it deserves (``http_code``) and nothing else of HTTP; only ``api/http.py`` turns it
into a response. The text of an error says what is wrong, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.data import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a definition: what, and where in the text."""

    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = f" ({self.path})" if self.path else ""
        at = f" [line {self.line}, column {self.column}]" if self.line is not None else ""
        return f"{self.message}{where}{at}"


class MistralError(Exception):
    """The root of everything this service raises on purpose."""

    http_code = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class DefinitionError(MistralError):
    """A definition cannot be accepted; carries every fault that was found."""

    http_code = 400

    def __init__(self, message: str = "", faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(message or "; ".join(str(fault) for fault in self.faults))


class DSLParsingException(DefinitionError):
    """The text is not a document of the workflow language."""


class InvalidModelException(DefinitionError):
    """The document breaks a rule of the language."""


class ExpressionGrammarException(DSLParsingException):
    """An expression cannot be parsed."""


class YaqlGrammarException(ExpressionGrammarException):
    """A YAQL expression cannot be parsed."""


class JinjaGrammarException(ExpressionGrammarException):
    """A Jinja expression cannot be parsed."""


class EvaluationException(MistralError):
    """An expression failed when it was evaluated."""

    http_code = 400


class YaqlEvaluationException(EvaluationException):
    """A YAQL expression failed when it was evaluated."""


class JinjaEvaluationException(EvaluationException):
    """A Jinja expression failed when it was evaluated."""


class InputException(MistralError):
    """The input does not fit what was declared, or a request field is wrong."""

    http_code = 400


class WorkflowException(MistralError):
    """A workflow cannot be started, or cannot change as asked."""

    http_code = 400


class InvalidActionException(MistralError):
    """An action is unknown, or its parameters do not fit."""

    http_code = 400


class ActionConstructionError(InvalidActionException):
    """The values given to an action cannot be used together; the action never started.

    ``message`` says why; ``task_message`` is what a task that wanted the action shows as its ``state_info``.
    """

    def __init__(self, message: str, action_name: str = "") -> None:
        super().__init__(message)
        self.action_name = action_name

    @property
    def task_message(self) -> str:
        """Mistral's words for a task, and the reason behind them."""
        return f"Failed to instantiate an action [action_desc=Action [name={self.action_name}]]: {self.message}"


class ActionException(MistralError):
    """An action failed while it ran; its text becomes part of the action's error result."""


class InvalidStateTransitionException(MistralError):
    """A state was asked for that may not follow the present one."""

    http_code = 400


class InvalidResultException(MistralError):
    """An action execution was given an impossible result."""

    http_code = 400


class SizeLimitExceededException(MistralError):
    """A value is larger than a field may hold."""

    http_code = 400


class RequestTooLargeException(SizeLimitExceededException):
    """A request is larger than the service takes."""

    http_code = 413


class UrlNotAllowedException(MistralError):
    """The egress policy refuses an address."""

    http_code = 400


class UnauthorizedException(MistralError):
    """The caller is not known."""

    http_code = 401


class IdentityUnavailableException(MistralError):
    """Whether the caller is known cannot be told at the moment: the issuer of the token does not answer."""

    http_code = 503


class RateLimitException(MistralError):
    """Too many requests, or too many failed logins; ``retry_after_sec`` is when the next is worth trying."""

    http_code = 429

    def __init__(self, message: str, retry_after_sec: float) -> None:
        super().__init__(message)
        self.retry_after_sec = retry_after_sec

    @property
    def retry_after(self) -> str:
        """The same in whole seconds, as HTTP writes it; at least one."""
        return str(max(1, -int(-self.retry_after_sec // 1)))


class NotAllowedException(MistralError):
    """The caller, or the present state, does not permit this."""

    http_code = 403


class NotFoundException(MistralError):
    """The object does not exist, or the caller may not see it."""

    http_code = 404


class GoneException(MistralError):
    """What was there for a time, or once, is over."""

    http_code = 410


class TooManyRequestsException(MistralError):
    """More was asked than is allowed in so short a time."""

    http_code = 429


class DuplicateEntryException(MistralError):
    """An object of that name exists already."""

    http_code = 409


class ConflictException(MistralError):
    """A conditional write lost its race; the caller reads again and decides again."""

    http_code = 409


class Interrupt(BaseException):
    """Asks the shell for something; never caught as a failure of an expression.

    Not an ``Exception`` on purpose: the evaluators turn every exception into an evaluation error, and this must pass
    them untouched.
    """


class UnknownFormatError(MistralError):
    """A stored record is of a version that this code does not know; a deployment that went back meets it."""

    http_code = 503


class UnsupportedMediaTypeException(MistralError):
    """The body of a request is of a type that this endpoint does not read."""

    http_code = 415
