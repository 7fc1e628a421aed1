"""A module's tree with probes in it, held against the tree without them.

The rewriter works on text; whether it did right is decided here, on syntax trees: without its
probes and its import the result must be the original, statement by statement on the same lines.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final, final

from tcstatic.program.source.reading import PROBES
from tcstatic.program.source.text import SourceText, Span, parse

_METHODS: Final = frozenset({"after", "on", "target", "loop"})


class Mismatch(Exception):
    """A rewritten module is not its original plus probes; the text says where."""


@final
@dataclass(frozen=True, slots=True)
class Found:
    """One probe in a rewritten module, with the range of what it wraps in the original."""

    number: int
    probe: str
    span: Span


def probes_in(original: SourceText, tree: ast.Module, rewritten: str) -> tuple[Found, ...]:
    """The probes of a rewritten text. Raises Mismatch where it differs in anything else."""
    return tuple(
        Found(number, probe, original.span(node))
        for number, probe, node in _aligned(tree, parse(rewritten))
    )


def compile_probed(tree: ast.Module, rewritten: str, filename: str) -> CodeType:
    """Compile a rewritten text so that each instruction carries the original's positions.

    An inserted call has the position of what it wraps, and the import is left out: the name is
    expected among the builtins. Raises Mismatch.
    """
    probed = parse(rewritten)
    _aligned(tree, probed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code: CodeType = compile(probed, filename, "exec", dont_inherit=True)
    return code


def _aligned(original: ast.Module, probed: ast.Module) -> list[tuple[int, str, ast.expr]]:
    """Walk both trees at once, giving each node of `probed` the place of its counterpart."""
    _drop_import(original, probed)
    found: list[tuple[int, str, ast.expr]] = []
    pairs: list[tuple[Any, Any]] = [(original, probed)]
    while pairs:
        left, right = pairs.pop()
        while (probe := _probe(right)) is not None:
            found.append((*probe, left))
            _place_probe(right, left)
            right = right.args[1]
        _match(left, right, pairs)
    return found


def _place_probe(call: Any, value: ast.expr) -> None:
    """Give an inserted call the range of what it wraps, and what it consists of its beginning.

    A method that ends on a later line than it begins would get instructions of that line.
    """
    ast.copy_location(call, value)
    call.func.value = ast.Name(PROBES, ast.Load())
    for part in (call.func, call.func.value, call.args[0]):
        part.lineno = part.end_lineno = value.lineno
        part.col_offset = part.end_col_offset = value.col_offset


def _match(left: Any, right: Any, pairs: list[tuple[Any, Any]]) -> None:
    if type(left) is not type(right):
        raise _mismatch(left, f"{type(left).__name__} became {type(right).__name__}")
    if isinstance(left, ast.stmt) and (left.lineno, left.end_lineno) != (
        right.lineno,
        right.end_lineno,
    ):
        raise _mismatch(left, f"a statement moved to line {right.lineno}")
    for name in left._attributes:
        setattr(right, name, getattr(left, name, None))
    for name in left._fields:
        one, other = getattr(left, name, None), getattr(right, name, None)
        if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pairs.extend(pair for pair in zip(one, other, strict=True) if _deep(left, *pair))
        elif isinstance(one, list) or _deep(left, one, other):
            if isinstance(one, list):
                raise _mismatch(left, f"{name} has another length")
            pairs.append((one, other))


def _deep(parent: Any, left: Any, right: Any) -> bool:
    """Whether two values have to be walked; raises Mismatch where they are plain and differ."""
    if isinstance(left, ast.AST) and isinstance(right, ast.AST) and left._fields:
        return True
    same = type(left) is type(right)
    if not same or not (isinstance(left, ast.AST) or left == right):
        raise _mismatch(parent, f"{left!r} became {right!r}")
    return False


def _mismatch(node: Any, problem: str) -> Mismatch:
    line = getattr(node, "lineno", None)
    return Mismatch(f"line {line}: {problem}" if line else problem)


def _drop_import(original: ast.Module, probed: ast.Module) -> None:
    if len(probed.body) == len(original.body) + 1:
        for index, statement in enumerate(probed.body):
            if isinstance(statement, ast.Import) and statement.names[0].name == PROBES:
                del probed.body[index]
                return


def _probe(node: Any) -> tuple[int, str] | None:
    """The number and the method of an inserted call; None for every other node."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    base, name = node.func.value, node.func.attr
    if name not in _METHODS or len(node.args) != 2 or node.keywords or not _is_probes(base):
        return None
    number = getattr(node.args[0], "value", None)
    return (number, name) if isinstance(number, int) else None


def _is_probes(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id == PROBES
    return (
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "__import__"
        and len(node.args) == 1
        and getattr(node.args[0], "value", None) == PROBES
    )
