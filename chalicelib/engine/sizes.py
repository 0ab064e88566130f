"""How large a value may be in a field, measured as Mistral does: on its text."""

from __future__ import annotations

from chalicelib.errors import SizeLimitExceededException
from chalicelib.vocabulary import Json

_SMALL_CHARACTERS = 4096


def check_size(value: Json, field_name: str, bytes_max: int) -> None:
    """Refuse a value whose text is too large. Raises SizeLimitExceededException."""
    if bytes_max < 0 or _surely_small(value):
        return
    size = len(str(value).encode("utf-8", "surrogatepass"))
    if size > bytes_max:
        raise SizeLimitExceededException(
            f"Field size limit exceeded [field={field_name}, size={size // 1024}KB, limit={bytes_max // 1024}KB]"
        )


def cut(text: str | None, characters_max: int) -> str | None:
    """A text cut to a length, with a mark where it was cut."""
    if text is None or len(text) <= characters_max:
        return text
    return text[: characters_max - 3] + "..."


def _surely_small(value: Json) -> bool:
    """Whether a value is small beyond doubt, so that the common case costs no serialisation."""
    if value is None or isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, str):
        return len(value) < _SMALL_CHARACTERS
    if isinstance(value, dict):
        return len(value) < 16 and all(_is_scalar(member) for member in value.values())
    return isinstance(value, list) and len(value) < 16 and all(_is_scalar(member) for member in value)


def _is_scalar(value: Json) -> bool:
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, str) and len(value) < _SMALL_CHARACTERS)
    )
