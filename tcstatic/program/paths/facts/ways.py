"""The ways that a value came, one operation at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import Const, Listing, Node, Phi, Value

_DEEPEST: Final = 60


@final
@dataclass(frozen=True, slots=True)
class Way:
    """Where a walk against the flow of values ended, and the operations it passed, last first."""

    end: Value
    passed: tuple[Node, ...]


def ways(m: Machine, value: Value, through: frozenset[str]) -> list[Way]:
    """All ways on which a value came through these operations (and through models)."""
    return list(_walk(m, value, through, (), set()))


def _walk(
    m: Machine, value: Value, through: frozenset[str], passed: tuple[Node, ...], seen: set[int]
) -> Iterator[Way]:
    if id(value) in seen or len(passed) > _DEEPEST:
        return
    seen.add(id(value))
    if isinstance(value, Phi):
        for option in value.options:
            if not (isinstance(option, Const) and option.value is None):
                yield from _walk(m, option, through, passed, seen)
    elif isinstance(value, Listing):
        for item in lookup.items(m, value):
            yield from _walk(m, item, through, passed, seen)
    elif isinstance(value, Node) and value.op == "forward" and value.subject is not None:
        yield from _walk(m, value.inputs[0], through, passed, seen)
    elif isinstance(value, Node) and value.op in through and value.inputs:
        yield from _walk(m, value.inputs[0], through, (*passed, value), seen)
    else:
        yield Way(value, passed)


def newest(m: Machine, value: Value) -> int:
    """The number of the newest value that this one was made of."""
    from tcstatic.program.paths.walking import upstream

    return max((one.number for one in upstream(m, value, lambda _: True)), default=0)


def depends_on(m: Machine, value: Value, names: frozenset[str]) -> bool:
    """Whether an operation of one of these names is behind a value."""
    from tcstatic.program.paths.walking import upstream

    return any(
        isinstance(one, Node) and one.op in names for one in upstream(m, value, lambda _: True)
    )
