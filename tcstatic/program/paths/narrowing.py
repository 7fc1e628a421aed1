"""What a condition tells of names and attributes on either of its ways: ``if self.held is None``.

Where a cell may hold one of several values, only those are left that fit the way: an object that
is made at its first use is known to be there at the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.conditions import comparison, truth
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.store import Changes, Key
from tcstatic.program.paths.values import Const, Listing, Node, Object, Phi, Value, joined, options
from tcstatic.program.source import syntax

_NONE: Final = Const(None)
_OPTIONS: Final = 12
_LACKING: Final = frozenset({"AttributeError", "KeyError", "NameError"})


def told(m: Machine, test: syntax.expr, value: Value) -> tuple[Changes, Changes]:
    """What cells hold where a condition of a value is true, and where it is not."""
    tests = _open(test, value)
    return _left(m, tests, outcome=True), _left(m, tests, outcome=False)


def _open(test: syntax.expr, value: Value) -> list[syntax.expr]:
    """The parts of a condition that have its outcome: where the truth of all others is known,
    the one that is left has it."""
    if not isinstance(test, syntax.BoolOp):
        return [test]
    if not isinstance(value, Node) or value.op not in ("and", "or"):
        return test.values
    if len(test.values) != len(value.inputs):
        return [test]
    pairs = zip(test.values, value.inputs, strict=True)
    unknown = [part for part, held in pairs if truth(held) is None]
    return unknown if len(unknown) == 1 else [test]


def apply(m: Machine, known: Changes) -> None:
    """Let cells hold what is left of them."""
    for key, value in known.items():
        m.cells.set(key, value)


def forget(m: Machine, known: Sequence[Changes], outcomes: list[Changes]) -> None:
    """Where ways meet on which nobody wrote to a cell, it holds what it held before: the same
    condition decides it alike later on."""
    for key in {key for one in known for key in one}:
        base = m.cells.get(key)
        ends = zip(known, outcomes, strict=True)
        if all(end.get(key, base) is one.get(key, base) for one, end in ends):
            for end in outcomes:
                end.pop(key, None)


def contains(m: Machine, key: Value, holder: Value, op: str) -> bool | None:
    """What ``key in holder`` or ``key not in holder`` gives, where the key is known to be there."""
    if not isinstance(holder, Listing) or holder.kind != "dict" or not isinstance(key, Const):
        return None
    there = m.cells.get((holder.number, lookup.key_of(key))) is not None
    return op == "in" if there else None


def is_safe(m: Machine, node: syntax.Try) -> bool:
    """Whether a ``try`` only looks up what is known to be there."""
    kinds = {syntax.unparse(one.type) for one in node.handlers if one.type is not None}
    if len(node.body) != 1 or not kinds or not kinds <= _LACKING:
        return False
    value = getattr(node.body[0], "value", None)
    if not isinstance(value, syntax.Name | syntax.Attribute | syntax.Subscript):
        return False
    key = key_of(m, value)
    return key is not None and m.cells.get(key) is not None


def has(m: Machine, arguments: Sequence[Value]) -> bool:
    """Whether ``hasattr(held, "name")`` is known to hold."""
    if len(arguments) < 2 or not isinstance(arguments[1], Const):
        return False
    held, text = arguments[0], arguments[1].value
    if not isinstance(held, Object) or not isinstance(text, str):
        return False
    return m.cells.get((held.number, text)) is not None


def _left(m: Machine, tests: list[syntax.expr], *, outcome: bool) -> Changes:
    found: Changes = {}
    every_fact = (fact for test in tests for fact in _facts(test, outcome))
    for part, is_none, answer in every_fact:
        key = key_of(m, part)
        held = m.cells.get(key) if key is not None else None
        if not isinstance(held, Phi):
            continue
        every = options(held, _OPTIONS)
        fitting = [
            one
            for one in every
            if (comparison("is", one, _NONE) if is_none else truth(one)) is not (not answer)
        ]
        if fitting and len(fitting) < len(every) < _OPTIONS:
            found.update(dict.fromkeys(_cells_of(m, part, held), joined(fitting)))
    return found


def _cells_of(m: Machine, part: syntax.expr, held: Phi) -> list[Key]:
    """The cells that hold one value, if a name does: ``known = self.held``."""
    if isinstance(part, syntax.Name):
        return [key for key, value in m.cells.named() if value is held]
    key = key_of(m, part)
    return [key] if key is not None else []


def _facts(test: syntax.expr, outcome: bool) -> Iterator[tuple[syntax.expr, bool, bool]]:
    """What is known of single names where a condition has an outcome: the name, whether it is asked
    for None (and not for its truth), and the answer."""
    if isinstance(test, syntax.UnaryOp) and isinstance(test.op, syntax.Not):
        yield from _facts(test.operand, not outcome)
    elif isinstance(test, syntax.BoolOp):
        if isinstance(test.op, syntax.And) is outcome:
            for one in test.values:
                yield from _facts(one, outcome)
    elif isinstance(test, syntax.Compare) and len(test.ops) == 1:
        other, op = test.comparators[0], test.ops[0]
        if isinstance(other, syntax.Constant) and other.value is None:
            if isinstance(op, syntax.Is | syntax.Eq):
                yield test.left, True, outcome
            elif isinstance(op, syntax.IsNot | syntax.NotEq):
                yield test.left, True, not outcome
    elif isinstance(test, syntax.Name | syntax.Attribute | syntax.Subscript):
        yield test, False, outcome


def key_of(m: Machine, part: syntax.expr) -> Key | None:
    """The cell in which a name, or an attribute or element of what a name stands for, lies."""
    if isinstance(part, syntax.Name):
        frame = m.frame
        inner = () if part.id in frame.globals else (frame.number,)
        numbers = (*inner, *frame.scopes, frame.module.scope)
        keys = ((number, part.id) for number in numbers if number)
        return next((key for key in keys if m.cells.get(key) is not None), None)
    if isinstance(part, syntax.Attribute):
        holder = _held(m, part.value)
        return (holder.number, part.attr) if isinstance(holder, Object) else None
    if isinstance(part, syntax.Subscript) and isinstance(part.slice, syntax.Constant):
        holder = _held(m, part.value)
        text = lookup.key_of(Const(part.slice.value))
        return (holder.number, text) if isinstance(holder, Listing) else None
    return None


def _held(m: Machine, part: syntax.expr) -> Value | None:
    key = key_of(m, part)
    value = m.cells.get(key) if key is not None else None
    return options(value, 2)[0] if value is not None and len(options(value, 2)) == 1 else None
