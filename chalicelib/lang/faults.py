"""Everything that is wrong with one document, gathered and raised as one error."""

from __future__ import annotations

from chalicelib import limits
from chalicelib.errors import DefinitionError, Fault, InvalidModelException
from chalicelib.lang.loader import Document, Path


class Faults:
    """Gathers what is wrong with one document, and raises it all at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: list[tuple[type[DefinitionError], str, Path, str]] = []
        self._seen: set[tuple[type[DefinitionError], str, Path, str]] = set()

    def shape(self, path: Path, message: str) -> None:
        """A value that the tables of the language do not allow."""
        self.add(InvalidModelException, path, message, "Invalid DSL: ")

    def model(self, path: Path, message: str) -> None:
        """A broken rule that no table can say."""
        self.add(InvalidModelException, path, message)

    def add(self, kind: type[DefinitionError], path: Path, message: str, prefix: str = "") -> None:
        """Any fault; ``prefix`` begins the whole message if this one is the first."""
        if (kind, prefix, path, message) not in self._seen:
            self._seen.add((kind, prefix, path, message))
            self._found.append((kind, prefix, path, message))

    def below(self, path: Path) -> set[Path]:
        """The paths at or below ``path`` that have a fault."""
        return {other for _, _, other, _ in self._found if other[: len(path)] == path}

    def raise_if_any(self) -> None:
        """Raise the class that Mistral would have raised first, with every fault."""
        if not self._found:
            return
        kind, prefix, _, _ = self._found[0]
        faults = [self._fault(path, message) for _, _, path, message in self._found[: limits.FAULTS_SHOWN_MAX]]
        lines = [str(fault) for fault in faults]
        if len(self._found) > limits.FAULTS_SHOWN_MAX:
            lines.append(f"... and {len(self._found) - limits.FAULTS_SHOWN_MAX} more")
        raise kind(prefix + "\n".join(lines), faults)

    def _fault(self, path: Path, message: str) -> Fault:
        line, column = self._document.position(path) or (None, None)
        return Fault(message, path_text(path), line, column)


def path_text(path: Path) -> str:
    """A path as a message shows it: ``my_workflow.tasks.merge.with-items[0]``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
