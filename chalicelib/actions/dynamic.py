"""Dynamic actions: a name, and a class in a code source.

Everything but ``run`` works from the text alone; ``run`` refuses to act anywhere but in an executor.
"""

from __future__ import annotations

from chalicelib.actions import python_runner
from chalicelib.actions.action import ActionContext, FinalResult, Parameter, Polling, check_names, signature_text
from chalicelib.actions.python_source import ClassFacts, PythonSource, class_facts
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.vocabulary import JsonObject, Result, State


@dataclass(frozen=True, slots=True)
class DynamicAction:
    """A dynamic action that was found. ``fault`` is what keeps it from running, if that shows in the text already."""

    name: str
    class_name: str
    source: PythonSource | None
    facts: ClassFacts
    fault: str | None = None

    @classmethod
    def of(cls, name: str, class_name: str, source: PythonSource | None) -> DynamicAction:
        """The action of that class; ``source`` is ``None`` where it has been lost."""
        if source is None:
            return cls(name, class_name, None, ClassFacts(accepts_any=True), f"The code source of '{name}' is gone.")
        try:
            return cls(name, class_name, source, class_facts(source, class_name))
        except ActionException as error:
            return cls(name, class_name, source, ClassFacts(accepts_any=True), error.message)

    @property
    def description(self) -> str:
        """The docstring of the class."""
        return self.facts.description

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of its constructor."""
        return self.facts.parameters

    @property
    def accepts_any(self) -> bool:
        """Whether the constructor takes further names."""
        return self.facts.accepts_any

    @property
    def is_sync(self) -> bool:
        """Whether the class surely returns its result; one that only a run tells counts as asynchronous."""
        return self.facts.is_sync is True

    @property
    def polling(self) -> Polling:
        """Never: it runs once."""
        return Polling.NEVER

    @property
    def label(self) -> str:
        """How it is named in the text of an exception."""
        return self.name

    @property
    def signature_text(self) -> str:
        """The API's ``input``."""
        return signature_text(self.parameters, accepts_any=self.accepts_any)

    def check(self, input: JsonObject) -> None:
        """Raise ``InvalidActionException`` when parameters are missing or unknown."""
        if not self.accepts_any:
            check_names(self.name, self.class_name, self.parameters, input)

    def check_values(self, input: JsonObject) -> None:
        """Only its own constructor could tell, and that runs in the executor."""

    def is_pure(self, input: JsonObject) -> bool:  # noqa: ARG002 - the face of all actions
        """Never: nobody knows what it does."""
        return False

    def duration_sec(self, input: JsonObject) -> float:  # noqa: ARG002 - the face of all actions
        """Nothing is known."""
        return 0.0

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Run the class. Raises ActionException, with the line where it failed."""
        if self.fault is not None or self.source is None:
            raise ActionException(self.fault or "The code source is gone.")
        if not context.is_executor:
            raise ActionException(f"The dynamic action '{self.name}' runs in an executor only.")
        result, is_sync = python_runner.run_class(self.source, self.class_name, input, context)
        if not is_sync and self.is_sync and result.state is State.SUCCESS:
            raise ActionException(
                f"is_sync() of '{self.class_name}' is written to return True, but returned False when it ran."
            )
        return FinalResult(result.data, result.error, result.cancel) if is_sync else result
