"""Codes of places that are cut by the number of examples, and added along these.

A table of shape (places, 1, width) is for sequences that come before the examples. What is looked
at is the text of one module: how the table is shaped and cut, and that all layers which go over
sequences there are told that the batch comes first, with nothing turned on the way to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\[ ?: ?\w+\.(size\(0\)|shape\[0\])|\[ ?: ?len\(")
_CUT: Final = re.compile(r":(\w+)\.(size\(0\)|shape\[0\])|:len\((\w+)\)")
_LAYERS: Final = frozenset(
    """TransformerEncoderLayer TransformerDecoderLayer Transformer MultiheadAttention LSTM GRU
    RNN""".split()
)
_TURNS: Final = re.compile(
    r"transpose|permute|\.t\(|\.T\b|\.mT\b|rearrange|einsum|movedim|moveaxis|swapaxes|swapdims"
)
# A table with its places first, and one example for all.
_TALL: Final = (
    re.compile(r"\.unsqueeze\(1\)$|\[:, None(, :)?\]$"),
    re.compile(r"\.unsqueeze\(0\)\.(transpose\((0, 1|1, 0)\)|permute\(1, 0, 2\))$"),
    re.compile(r"(zeros|randn|empty|rand)\(\(?[^(),]+, 1, [^(),]+\)?\)"),
)
_HOLDS: Final = frozenset({"Parameter", "register_buffer"})
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def placed(m: Machine, block: Block) -> None:
    """``along_batch`` of codes of places that are added along the examples of a batch."""
    for module, (cut, table) in wording.found(block, _WORTH, _in_module):
        place = Place(module, cut, title_around(module.tree, cut.lineno))
        tell(block, "along_batch", place, name=table)


def _in_module(module: Module) -> Iterator[tuple[syntax.expr, str]]:
    if not _is_batch_first(module):
        return
    classes = [one for one in statements_in(module.tree) if isinstance(one, syntax.ClassDef)]
    for node in classes:
        for forward in _forwards(node):
            if _TURNS.search(_without_tables(forward)):
                continue
            for cut, table in _cuts(forward):
                shaped = _shaped(node, table)
                tall = all(any(one.search(text) for one in _TALL) for text in shaped)
                if shaped and tall and any(_hands_on(other, node) for other in classes):
                    yield cut, table


def _is_batch_first(module: Module) -> bool:
    """Whether all layers that go over a sequence are told that the batch comes first."""
    made = [
        call
        for one in statements_in(module.tree)
        for call in wording.calls(one)
        if wording.called(call) in _LAYERS
    ]
    told = [
        getattr(
            next((k.value for k in one.keywords if k.arg == "batch_first"), None), "value", None
        )
        for one in made
    ]
    return bool(made) and all(one is True for one in told)


def _forwards(node: syntax.ClassDef) -> Iterator[syntax.FunctionDef]:
    for one in node.body:
        if isinstance(one, syntax.FunctionDef) and one.name == "forward":
            yield one


def _without_tables(forward: syntax.FunctionDef) -> str:
    return "\n".join(syntax.unparse(one) for one in forward.body)


def _cuts(forward: syntax.FunctionDef) -> Iterator[tuple[syntax.expr, str]]:
    """The tables that are added to what a method is given, cut by its first dimension."""
    given = {one.arg for one in forward.args.args[1:]}
    for one in wording.own(forward.body):
        for part in wording.expressions(one):
            if not isinstance(part, syntax.BinOp) or not isinstance(part.op, syntax.Add):
                continue
            for held, other in ((part.left, part.right), (part.right, part.left)):
                table, by = _cut(held)
                if table and by in given and by in wording.names(other):
                    yield held, table


def _cut(value: Any) -> tuple[str, str]:
    """The table that is cut, and by whose first dimension."""
    while wording.called(value) in ("detach", "requires_grad_", "to"):
        value = getattr(value.func, "value", None)
    if not isinstance(value, syntax.Subscript):
        return "", ""
    table = wording.name(value.value)
    parts = value.slice.elts if isinstance(value.slice, syntax.Tuple) else [value.slice]
    cut = _CUT.fullmatch(syntax.unparse(parts[0]).replace(" ", ""))
    whole = all(syntax.unparse(one) == ":" for one in parts[1:])
    if not table.startswith("self.") or cut is None or not whole:
        return "", ""
    return table, cut[1] or cut[3]


def _shaped(node: syntax.ClassDef, table: str) -> list[str]:
    """How what a table of a class holds was shaped last."""
    found: list[str] = []
    for method in node.body:
        if not isinstance(method, _DEFINES):
            continue
        last: dict[str, str] = {}
        for one in wording.own(method.body):
            for name, value in wording.pairs(one):
                last[name] = syntax.unparse(_inner(value))
                if name == table:
                    found.append(last.get(last[name], last[name]))
            for call in wording.calls(one):
                if wording.called(call) != "register_buffer" or len(call.args) < 2:
                    continue
                if f"self.{getattr(call.args[0], 'value', '')}" == table:
                    text = syntax.unparse(call.args[1])
                    found.append(last.get(text, text))
    return found


def _inner(value: syntax.expr) -> syntax.expr:
    """What a parameter is made of."""
    if wording.called(value) in _HOLDS and isinstance(value, syntax.Call) and value.args:
        return value.args[0]
    return value


def _hands_on(other: syntax.ClassDef, node: syntax.ClassDef) -> bool:
    """Whether a class gives what it has put codes to to its layers as it is."""
    if other is node:
        made = [call for one in statements_in(other) for call in wording.calls(one)]
        inside = any(wording.called(one) in _LAYERS for one in made)
        return inside
    names = {
        name
        for one in statements_in(other)
        for name, value in wording.pairs(one)
        if wording.called(value) == node.name
    }
    for method in other.body:
        if not isinstance(method, _DEFINES) or method.name == "__init__":
            continue
        calls = [call for one in wording.own(method.body) for call in wording.calls(one)]
        used = [one for one in calls if wording.name(one.func) in names]
        if used and not _TURNS.search(_without_tables(method)):  # type: ignore[arg-type]
            return True
    return False
