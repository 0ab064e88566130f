"""Chance, from a seed; and YAML without aliases."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


class Draw:
    """Everything random of one case."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chance(self, probability: float) -> bool:
        """True in that share of the cases."""
        return self._random.random() < probability

    def number(self, least: int, most: int) -> int:
        """A number between the two, both included."""
        return self._random.randint(least, most)

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return self._random.choice(options)

    def weighted(self, options: Mapping[T, float]) -> T:
        """One of the keys, by weight."""
        return self._random.choices(list(options), list(options.values()))[0]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Several different ones, in their order."""
        chosen = sorted(self._random.sample(range(len(options)), min(count, len(options))))
        return [options[index] for index in chosen]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of them in another order."""
        return self._random.sample(list(options), len(options))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Mistral reads no aliases."""
        return True


def as_yaml(document: Mapping[str, Any]) -> str:
    """The document as a definition's text."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
