"""The last step of what was padded again: for all but the longest sequence that is padding.

What is looked at is the text of one function: ``pad_packed_sequence``, what only goes over its
steps one by one, and who takes the last of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\bpad_packed_sequence\(")
# Layers that treat each step like any other.
_EACH: Final = re.compile(
    r"^(drop(out)?\d*|(layer_?)?norm\d*|ln\d*|(fc|linear|lin|dense|proj|head|out|relu|tanh)\d*"
    r"|classifier|projection|decoder|hidden2\w+|contiguous|float|double|half|to|cuda)$"
)
# Batches that are put together of sequences which are as long as each other.
_ALIKE_LONG: Final = re.compile(
    r"(batch|bucket|group|sampl)(?!.*pad).*\b(same|equal|one)[ _-]?length|\b(same|equal)_?length"
    r"|\[len\(\w+\)\]\.append\(|setdefault\(len\(",
    re.IGNORECASE,
)
# What is asked of the last step, and does not go on with it.
_ASKS: Final = frozenset("print isnan isinf isfinite allclose equal len any all".split())
_SHAPES: Final = frozenset("shape size dim ndim dtype device numel".split())
_MEASURES: Final = frozenset("min max amin amax size shape len unique numel".split())
_ALIKE: Final = re.compile(r"(new_)?(full|fill|ones|repeat|expand)")
_SKIPPED: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef, syntax.ClassDef)
# The branches that a statement lies in, each with its number.
_Ways = tuple[tuple[syntax.stmt, int], ...]
_Found = tuple[syntax.Subscript, str, str]


@surveys
def padded(m: Machine, block: Block) -> None:
    """``last_of_padded`` of the last step of sequences that end where they end."""
    for module, (read, function, name) in wording.found(block, _WORTH, _in_module):
        tell(block, "last_of_padded", Place(module, read, function), name=name)


def _in_module(module: Module) -> Iterator[_Found]:
    if _ALIKE_LONG.search(module.text.text):
        return
    for node in (module.tree, *statements_in(module.tree)):
        if isinstance(node, syntax.Module | syntax.FunctionDef):
            scope = _Scope(title_around(module.tree, getattr(node, "lineno", 0)))
            if not _is_even(node):
                yield from scope.found(node.body, ())


@final
@dataclass(slots=True)
class _Scope:
    """One function: `padded` are names of what was padded again, each with whether the batch comes
    first, and with the branches in which that was done."""

    function: str
    padded: dict[str, tuple[bool, _Ways]] = field(default_factory=dict)

    def found(self, body: list[syntax.stmt], ways: _Ways) -> Iterator[_Found]:
        """The subscripts in statements, and within them, that take the last step."""
        for one in body:
            if isinstance(one, _SKIPPED):
                continue
            yield from self._read(one, ways)
            self._note(one, ways)
            for number, part in enumerate(("body", "orelse", "finalbody", "handlers")):
                held: Any = getattr(one, part, None) or []
                inner = (*ways, (one, number)) if isinstance(one, syntax.If) else ways
                for group in [held] if part != "handlers" else [h.body for h in held]:
                    if isinstance(group, list):
                        yield from self.found(group, inner)

    def _read(self, one: syntax.stmt, ways: _Ways) -> Iterator[_Found]:
        if isinstance(one, syntax.Assert | syntax.If | syntax.While):
            return
        for read in _reads(one):
            first, made = self._padded(read.value) or (None, ())
            if first is None or not _is_last(read.slice, first):
                continue
            around = [way for way in ways if way not in made]
            if around and (made or any(map(_is_measured, around))):
                continue
            yield read, self.function, syntax.unparse(read.value)

    def _padded(self, value: syntax.expr) -> tuple[bool, _Ways] | None:
        """Whether the batch comes first in a value, if it was padded again."""
        if wording.name(value) in self.padded:
            return self.padded[wording.name(value)]
        first = _unpacks(value)
        return (first, ()) if first is not None else None

    def _note(self, one: syntax.stmt, ways: _Ways) -> None:
        """Go past a statement."""
        known: dict[str, tuple[bool, _Ways]] = {}
        if isinstance(one, syntax.Assign) and len(one.targets) == 1:
            target, value = one.targets[0], one.value
            first = _unpacks(value)
            if isinstance(target, syntax.Tuple) and target.elts:
                target, first = target.elts[0], _batch_first(value)
            if first is not None:
                known[wording.name(target)] = (first, ways)
            elif (held := self.padded.get(_gone_over(value))) is not None:
                known[wording.name(target)] = held
        for name in wording.bound(one):
            self.padded.pop(name, None)
        self.padded.update(known)
        self.padded.pop("", None)


def _is_even(scope: syntax.Module | syntax.FunctionDef) -> bool:
    """Whether sequences are packed that are all as long, as far as the text tells, or whose lengths
    are asked for the whole."""
    calls = [call for one in wording.own(scope.body) for call in wording.calls(one)]
    packed = [call for call in calls if wording.called(call) == "pack_padded_sequence"]
    made = dict(pair for one in wording.own(scope.body) for pair in wording.pairs(one))
    for call in packed:
        given = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "lengths")]
        for value in given:
            lengths = wording.bare(made.get(wording.name(value), value))
            if isinstance(lengths, syntax.List) and len(lengths.elts) == 1:
                return True
            if any(_is_repeated(part) for part in syntax.walk(lengths)):
                return True
    return False


def _is_repeated(value: syntax.AST) -> bool:
    """Whether an expression is one number many times."""
    if isinstance(value, syntax.ListComp):
        targets = set().union(*(wording.names(one.target) for one in value.generators))
        return not targets & wording.names(value.elt)
    if isinstance(value, syntax.BinOp):
        return isinstance(value.left, syntax.List) or isinstance(value.right, syntax.List)
    return _ALIKE.match(wording.called(value)) is not None


def _reads(one: syntax.stmt) -> Iterator[syntax.Subscript]:
    """The subscripts of a statement whose values go on."""
    stack: list[syntax.AST] = [
        child for child in syntax.iter_child_nodes(one) if isinstance(child, syntax.expr)
    ]
    while stack:
        node = stack.pop()
        asks = isinstance(node, syntax.Attribute) and node.attr in _SHAPES
        asks = asks or (isinstance(node, syntax.Call) and wording.called(node) in _ASKS)
        if asks or isinstance(node, syntax.Compare | syntax.IfExp | syntax.Lambda):
            continue
        if isinstance(node, syntax.Subscript) and isinstance(node.ctx, syntax.Load):
            yield node
        stack.extend(syntax.iter_child_nodes(node))


def _is_last(index: syntax.expr, batch_first: bool) -> bool:
    """Whether an index takes the last step of all sequences."""
    parts = list(index.elts) if isinstance(index, syntax.Tuple) else [index]
    if batch_first:
        if not (isinstance(parts[0], syntax.Slice) and syntax.unparse(parts[0]) == ":"):
            return False
        parts = parts[1:]
    if not parts or syntax.unparse(parts[0]) not in ("-1", "-1:"):
        return False
    behind = parts[1:]
    if behind and not batch_first and syntax.unparse(behind[0]) not in (":", "..."):
        return False
    return all(isinstance(one, syntax.Slice) or syntax.unparse(one) == "..." for one in behind)


def _is_measured(way: tuple[syntax.stmt, int]) -> bool:
    """Whether a branch asks how long sequences are, or how many."""
    test = getattr(way[0], "test", None)
    asked = wording.names(test) if test is not None else set()
    last = {one.rpartition(".")[2] for one in asked}
    lengths = any(re.search(r"len|pad|pack|mask|same|equal|fixed|\bbs\b", one) for one in asked)
    calls = {wording.called(one) for one in syntax.walk(test)} if test is not None else set()
    return bool(lengths or (last | calls) & _MEASURES)


def _gone_over(value: syntax.expr) -> str:
    """The name of what a value is made of, step by step; '' if there is no such name."""
    if not isinstance(value, syntax.Call) or not _EACH.match(wording.called(value)):
        return ""
    if value.args and len(value.args) == 1:
        return wording.name(value.args[0])
    return wording.name(getattr(value.func, "value", None)) if not value.args else ""


def _unpacks(value: Any) -> bool | None:
    """Whether the batch comes first in ``pad_packed_sequence(...)[0]``; None for any other."""
    if not isinstance(value, syntax.Subscript) or syntax.unparse(value.slice) != "0":
        return None
    return _batch_first(value.value)


def _batch_first(call: Any) -> bool | None:
    """Whether the batch comes first in what a call pads again; None for any other call, and for one
    that does not tell, or is given a length."""
    if wording.called(call) != "pad_packed_sequence" or len(call.args) > 2:
        return None
    given = {one.arg: one.value for one in call.keywords}
    if None in given or given.keys() & {"total_length", "padding_value"}:
        return None
    first = given.get("batch_first", call.args[1] if len(call.args) == 2 else None)
    if first is None:
        return False
    told = getattr(first, "value", None)
    return told if isinstance(told, bool) else None
