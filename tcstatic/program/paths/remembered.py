"""Functions that are run once for equal arguments: ``functools.cache`` and its kind.

What they gave is kept in a cell, so that a second call gives the very same objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tcstatic.program.paths.store import Key
from tcstatic.program.paths.values import Const, Function, Value
from tcstatic.program.source import syntax

_KEEPS: Final = re.compile(r"(functools\.)?(cache|lru_cache(\(.*\))?|cached_property)")
_SOLE: Final = re.compile(r"(functools\.)?cached_property")


def is_sole(function: Function) -> bool:
    """Whether a function is a property that takes the place of itself when it was read."""
    return any(_SOLE.fullmatch(text) for text in _decorators(function))


def cell_of(
    function: Function, arguments: tuple[Value, ...], keywords: Mapping[str, Value]
) -> Key | None:
    """The cell in which the result of a call lies, if the function keeps results."""
    if not any(_KEEPS.fullmatch(text) for text in _decorators(function)):
        return None
    given = [*arguments, *(value for _, value in sorted(keywords.items()))]
    names = (repr(one.value) if isinstance(one, Const) else f"#{one.number}" for one in given)
    return function.number, f"kept({', '.join(names)})"


def _decorators(function: Function) -> list[str]:
    written = getattr(function.node, "decorator_list", [])
    return [syntax.unparse(one) for one in written]
