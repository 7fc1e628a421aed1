"""Conditions of branches: known truths, and names by which equal conditions decide alike."""

from __future__ import annotations

from typing import Final

from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    External,
    Function,
    ModuleRef,
    Node,
    Object,
    Phi,
    Value,
    options,
)

# Operations that give the same answer for the same values.
_PURE: Final = frozenset(
    "+ - * / // % ** == != < <= > >= is in and or not neg item len & | ^ compare".split()
)
_FLIPPED: Final = {"!=": "==", "is not": "is", "not in": "in", ">=": "<", "<=": ">"}
_DEEPEST: Final = 8


def truth(value: Value) -> bool | None:
    """Whether a value is true, where that is known."""
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, Object | Function | Class | Bound | ModuleRef):
        return True
    if isinstance(value, Node) and value.op == "not":
        inner = truth(value.inputs[0])
        return None if inner is None else not inner
    if isinstance(value, Node) and value.op in ("and", "or"):
        return _joint(value)
    if isinstance(value, Phi):
        known = {truth(option) for option in options(value)}
        return known.pop() if len(known) == 1 else None
    return None


def _joint(value: Node) -> bool | None:
    parts = [truth(part) for part in value.inputs]
    decisive = value.op == "or"
    if any(part is decisive for part in parts):
        return decisive
    return (not decisive) if all(part is (not decisive) for part in parts) else None


def comparison(op: str, left: Value, right: Value) -> bool | None:
    """What a comparison of known values gives."""
    if op in ("is", "is not", "==", "!="):
        answer = _equal(left, right)
        if answer is None:
            return None
        return answer if op in ("is", "==") else not answer
    return None


def _equal(left: Value, right: Value) -> bool | None:
    if isinstance(left, Const) and isinstance(right, Const):
        return bool(left.value == right.value)
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Const) and one.value is None:
            if isinstance(other, Object | Function | Class | ModuleRef):
                return False
            if isinstance(other, Phi):
                answers = {_equal(one, option) for option in options(other)}
                return answers.pop() if len(answers) == 1 else None
    return True if left is right and not isinstance(left, Phi) else None


def unflipped(value: Value) -> tuple[Value, bool]:
    """A condition without negations, and whether it was the negated one."""
    flipped = False
    while isinstance(value, Node):
        if value.op == "not":
            value, flipped = value.inputs[0], not flipped
        elif value.op in _FLIPPED:
            return Node(_FLIPPED[value.op], value.inputs), not flipped
        else:
            break
    return value, flipped


def named(value: Value) -> tuple[str, bool, int]:
    """A name for a condition, whether it is the negated one, and the number of its newest part."""
    value, flipped = unflipped(value)
    text, birth = _text(value, 0)
    return text, flipped, birth


def _is_pure(value: Node) -> bool:
    if value.op == "item" and len(value.inputs) < 2:
        return False  # the element of a loop: another one in each round
    return value.op in _PURE or value.op.startswith("attr:")


def _text(value: Value, depth: int) -> tuple[str, int]:
    if isinstance(value, Const):
        return repr(value.value), 0
    if isinstance(value, External):
        return value.path, 0
    if isinstance(value, Node) and depth < _DEEPEST and _is_pure(value):
        parts = [_text(part, depth + 1) for part in value.inputs]
        text = f"{value.op}({','.join(part for part, _ in parts)})"
        return text, max((birth for _, birth in parts), default=0)
    return f"#{value.number}", value.birth
