"""What functions tell of themselves, asked of the objects; nothing of the user's is run."""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any, Final

# Wrappers around one another are followed so far.
_HOPS: Final = 8
_SIGNATURE: Final = re.compile(r"\w+\(([^()]*)\)")
_NOTHING: Final = object()
_DICT: Final[Any] = type.__dict__["__dict__"]


def unwrapped(function: Any) -> Any:
    """The plain function that a decorated one stands for, None for anything else."""
    for _ in range(_HOPS):
        if type(function) is not FunctionType:
            return None
        inner = function.__dict__.get("__wrapped__")
        if inner is None:
            return function
        function = inner
    return None


def parameters(function: Any) -> tuple[str, ...]:
    plain = unwrapped(function)
    if plain is None:
        return ()
    code = plain.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
    # One that hands on all that it is given may tell in its text what that is.
    return names or tuple(documented(plain))


def defaults(function: Any) -> tuple[tuple[str, Any], ...]:
    """Parameters of a function of Python that need not be given, with their values."""
    plain = unwrapped(function)
    if plain is None or plain is not function:
        return ()
    code, values = plain.__code__, plain.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    by_name = plain.__kwdefaults__
    given = dict(zip(names[len(names) - len(values) :], values, strict=True))
    return (*given.items(), *(by_name.items() if by_name else ()))


def returning(code: CodeType) -> int:
    """The line of a function that gives its result: the only ``return`` of a value; of one that
    gives none its last line, for what it does; its first line where there are several."""
    told = [(name, value, line) for name, value, line in _instructions(code) if line is not None]
    lines = set()
    for (_, before, _), (name, _, line) in pairwise(told):
        if name == "RETURN_VALUE" and before is not _NOTHING:
            lines.add(line)
    if not lines:
        return max((line for _, _, line in told), default=code.co_firstlineno)
    return lines.pop() if len(lines) == 1 else code.co_firstlineno


def _instructions(code: CodeType) -> Iterator[tuple[str, object, int | None]]:
    for one in dis.get_instructions(code):
        where = one.positions
        nothing = one.opname in ("LOAD_CONST", "RETURN_CONST") and one.argval is None
        name = one.opname.replace("RETURN_CONST", "RETURN_VALUE")
        yield name, _NOTHING if nothing else one.argval, where.lineno if where else None


def looked_up(kind: Any, name: str) -> Any:
    """A method as the class holds it; nothing of the user's is run, as `getattr` may."""
    for base in type.__getattribute__(kind, "__mro__"):
        held = _DICT.__get__(base)
        if name in held:
            return held[name] if base is not object else None
    return None


def documented(builtin: Any) -> Iterator[str]:
    """The parameters of a function that is not Python's, as its own text tells them."""
    found = _SIGNATURE.search(builtin.__doc__ or "") if builtin is not None else None
    for part in found.group(1).split(",") if found else ():
        name = part.partition("=")[0].strip().strip("[]")
        if name in ("*", "/") or not name.isidentifier():
            return
        yield name
