"""What containers hold, looked at to a bounded depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_MOST_ITEMS: Final = 256
_DEPTH: Final = 3


def tensors_in(values: Any, tensor: type, depth: int = _DEPTH) -> Iterator[Any]:
    """Yield the tensors in some values, in containers too."""
    for one in values:
        if isinstance(one, tensor):
            yield one
        elif depth and isinstance(one, tuple | list):
            yield from tensors_in(one[:_MOST_ITEMS], tensor, depth - 1)
        elif depth and isinstance(one, dict):
            yield from tensors_in(list(one.values())[:_MOST_ITEMS], tensor, depth - 1)


def numbers_in(value: Any, depth: int = _DEPTH + 2) -> Iterator[float]:
    """Yield the floats in a value, in containers too."""
    if isinstance(value, float):
        yield value
    elif depth and isinstance(value, tuple | list):
        for one in value[:_MOST_ITEMS]:
            yield from numbers_in(one, depth - 1)
    elif depth and isinstance(value, dict):
        yield from numbers_in(list(value.values()), depth - 1)
