"""One value of an event <-> a typed cell."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, final

NONE, FALSE, TRUE, INTEGER, REAL, TEXT, INTEGERS, INTEGER_SET, OTHER = range(9)
# What moves from event to event is kept in columns: a field of these types only says in which.
STEP, EPOCH, NEXT_INTEGER, NEXT_REAL = range(16, 20)
MOVING: Final = frozenset({STEP, EPOCH, NEXT_INTEGER, NEXT_REAL})
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


@final
class Moves:
    """Stands in a mapping for a value that moves; compared by identity."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


MOVES: Final = {code: Moves(code) for code in MOVING}


@final
class Cell(NamedTuple):
    """A value by type; the other fields are empty."""

    type: int
    integer: int = 0
    real: float = 0.0
    text: bytes = b""
    numbers: tuple[int, ...] = ()


_CONSTANTS: Final = {None: Cell(NONE), False: Cell(FALSE), True: Cell(TRUE)}


def cell(value: Any) -> Cell:
    """Return the cell of a value; what is neither plain nor a collection is kept as its repr."""
    if value is None or value is True or value is False:
        return _CONSTANTS[value]
    if isinstance(value, Moves):
        return Cell(value.code)
    if isinstance(value, int) and LOWEST <= value <= HIGHEST:
        return Cell(INTEGER, integer=int(value))
    if isinstance(value, float):
        return Cell(REAL, real=float(value))
    if isinstance(value, str):
        try:
            return Cell(TEXT, text=value.encode())
        except UnicodeEncodeError:
            pass
    if type(value) in (tuple, frozenset) and all(_is_number(item) for item in value):
        if type(value) is tuple:
            return Cell(INTEGERS, numbers=value)
        return Cell(INTEGER_SET, numbers=tuple(sorted(value)))
    return Cell(OTHER, text=json.dumps(_tagged(value)).encode())


def _is_number(item: Any) -> bool:
    return type(item) is int and LOWEST <= item <= HIGHEST


def _tagged(value: Any) -> Any:
    """Return what json can hold of a value: each collection is an object with its name as key."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return {"float": float(value).hex()}
    if isinstance(value, list | tuple):
        return {"list" if isinstance(value, list) else "tuple": [_tagged(v) for v in value]}
    if isinstance(value, set | frozenset):
        return {"frozenset": sorted((_tagged(v) for v in value), key=repr)}
    if isinstance(value, dict):
        return {"dict": [[_tagged(key), _tagged(v)] for key, v in value.items()]}
    return repr(value)


def value_of(found: Cell) -> Any:
    """Return the value of a cell that does not move; ValueError where it holds none."""
    type_ = found.type
    if type_ <= TRUE:
        return (None, False, True)[type_]
    if type_ == INTEGER:
        return found.integer
    if type_ == REAL:
        return found.real
    if type_ == TEXT:
        return found.text.decode()
    if type_ == INTEGERS:
        return found.numbers
    if type_ == INTEGER_SET:
        return frozenset(found.numbers)
    if type_ == OTHER:
        return _untagged(json.loads(found.text))
    raise ValueError(f"no such type of value: {type_}")


def _untagged(data: Any) -> Any:
    if not isinstance(data, dict):
        if isinstance(data, list | float):
            raise ValueError("a value without its type")
        return data
    ((name, body),) = data.items()
    if name == "float":
        return float.fromhex(body)
    if name == "dict":
        return {_untagged(key): _untagged(value) for key, value in body}
    items = [_untagged(item) for item in body]
    kinds = {"list": list, "tuple": tuple, "frozenset": frozenset}
    if name not in kinds:
        raise ValueError(f"no such type of value: {name}")
    return kinds[name](items)
