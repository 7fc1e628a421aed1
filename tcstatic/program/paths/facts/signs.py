"""Assignments of a value with a sign, ``total =+ term``, where ``total += term`` was meant.

What is looked at is the text: the sign stands right behind the ``=``, and the name that is bound
had a value already, in the same statements or in those around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"[\w\])] *=\+")
# A blank behind the sign is nobody's habit; without it, some write the sign of a value so.
_SPACED: Final = re.compile(r"=\+[ \t]+$")
_CLOSE: Final = re.compile(r"[ \t]=\+$")
# Who also writes the other sign so sets the signs of his values beside the `=`.
_OTHER_SIGN: Final = re.compile(r"^[ \t]*[\w.\[\]\"']+[ \t]+=-", re.MULTILINE)
_SUMS: Final = re.compile(
    r"loss|cost|error|penalty|elbo|kld|objective|sum\b|total|correct|running|accum|count",
    re.IGNORECASE,
)
_SKIPPED: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef, syntax.ClassDef)
_Found = tuple[syntax.stmt, str, str]


@surveys
def unadded(m: Machine, block: Block) -> None:
    """``unadded`` of an assignment by which the value that a name had is lost."""
    for module, (statement, function, name) in wording.found(block, _WORTH, _in_module):
        tell(block, "unadded", Place(module, statement, function), name=name)


def _in_module(module: Module) -> Iterator[_Found]:
    if not _OTHER_SIGN.search(module.text.text):
        yield from _in_body(module, module.tree.body, ())


def _in_body(
    module: Module, body: list[syntax.stmt], before: tuple[syntax.stmt, ...]
) -> Iterator[_Found]:
    """The assignments among some statements, and within them; what was executed `before` them."""
    for index, one in enumerate(body):
        passed = (*before, *body[:index])
        if isinstance(one, syntax.Assign) and len(one.targets) == 1:
            name = syntax.unparse(one.targets[0])
            if _is_meant_to_add(module, one, name) and _had_a_value(passed, one, name):
                around = title_around(module.tree, one.lineno)
                yield one, around, name
        inner = () if isinstance(one, _SKIPPED) else passed
        for part in ("body", "orelse", "finalbody", "handlers"):
            held: Any = getattr(one, part, None)
            for group in [held] if part != "handlers" else [h.body for h in held or ()]:
                if isinstance(group, list):
                    yield from _in_body(module, group, inner)


def _is_meant_to_add(module: Module, one: syntax.Assign, name: str) -> bool:
    """Whether the sign belongs to the ``=``, by how they are written."""
    target, value = one.targets[0], one.value
    if target.end_lineno != value.lineno or name in map(syntax.unparse, _parts(value)):
        return False
    signed = _first(value)
    if signed is None:
        return False
    line = module.text.lines[one.lineno - 1].encode()
    text = line[target.end_col_offset : signed.operand.col_offset].decode().rstrip("(")
    if _SPACED.search(text):
        return True
    return _CLOSE.search(text) is not None and _SUMS.search(name) is not None


def _parts(value: syntax.expr) -> Iterator[syntax.expr]:
    return (one for one in syntax.walk(value) if isinstance(one, syntax.expr))


def _first(value: Any) -> syntax.UnaryOp | None:
    """The sign that an expression begins with."""
    while isinstance(value, syntax.BinOp):
        value = value.left
    plus = isinstance(value, syntax.UnaryOp) and isinstance(value.op, syntax.UAdd)
    return value if plus else None


def _had_a_value(before: tuple[syntax.stmt, ...], one: syntax.Assign, name: str) -> bool:
    """Whether the name was given a value of its own before, other than None."""
    for other in reversed(before):
        if isinstance(other, syntax.AugAssign) and syntax.unparse(other.target) == name:
            return True
        if not isinstance(other, syntax.Assign):
            if isinstance(other, syntax.Delete) and name in wording.names(other):
                return False
            continue
        if any(syntax.unparse(target) == name for target in other.targets):
            return getattr(other.value, "value", 0) is not None
    return False
