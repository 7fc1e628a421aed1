"""Calls as they were met -> Call facts, once all imports of their module are known."""

from __future__ import annotations

import ast
import itertools
from dataclasses import dataclass
from typing import final

from tcstatic.program.source.facts import Argument, Call, Place, Result
from tcstatic.program.source.names import Names, chain
from tcstatic.program.source.order import ordered_children
from tcstatic.program.source.text import SourceText, Span


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """A call with its surroundings."""

    ordinal: int
    node: ast.Call
    function: str
    loops: int
    place: Place
    quoted: bool
    in_class: bool


def call_fact(seen: Seen, result: Result, names: Names, text: SourceText) -> Call:
    """The fact of one call."""
    node, function = seen.node, seen.node.func
    callee, resolved = _callee(function, names)
    callee_span = text.span(function)
    receiver = function.value if isinstance(function, ast.Attribute) else None
    receiver_span = text.span(receiver) if receiver else None
    return Call(
        ordinal=seen.ordinal,
        span=text.span(node),
        callee=callee,
        resolved=resolved,
        name=callee.rpartition(".")[2],
        function=seen.function,
        callee_span=callee_span,
        callee_text=described(function, callee_span, text, seen.quoted),
        receiver=receiver_span,
        receiver_text=(
            described(receiver, receiver_span, text, seen.quoted)
            if receiver and receiver_span
            else ""
        ),
        arguments=tuple(_arguments(node, text, seen.quoted)),
        loops=seen.loops,
        place=seen.place,
        result=result,
        quoted=seen.quoted,
        in_class=seen.in_class,
    )


def described(node: ast.expr, span: Span, text: SourceText, quoted: bool) -> str:
    """The text of an expression. Before 3.12, positions in a formatted string may be off."""
    return ast.unparse(node) if quoted else text.segment(span)


def _callee(function: ast.expr, names: Names) -> tuple[str, bool]:
    path = chain(function)
    if path is not None:
        return names.dotted(path)
    return (f".{function.attr}", False) if isinstance(function, ast.Attribute) else ("", False)


def _arguments(node: ast.Call, text: SourceText, quoted: bool) -> list[Argument]:
    found = []
    for written in itertools.islice(ordered_children(node), 1, None):
        if isinstance(written, ast.keyword):
            found.append(_argument(written.arg or "**", written.value, text, quoted))
        elif isinstance(written, ast.expr):
            star = "*" if isinstance(written, ast.Starred) else ""
            found.append(_argument(star, written, text, quoted))
    return found


def _argument(keyword: str, value: ast.expr, text: SourceText, quoted: bool) -> Argument:
    span = text.span(value)
    return Argument(keyword, span, described(value, span, text, quoted), _is_literal(value))


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant)
