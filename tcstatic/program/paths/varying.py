"""What a later round of a loop finds otherwise than the first one did.

A body is run once, from what is known before its loop: ``first = True``. Where that decided which
way the body went, and the body leaves another value behind, the decision is good for one round
only. Then the body is run anew, with the value before and the values left as what it may be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.machine import LoopState, Machine
from tcstatic.program.paths.project import statements_in
from tcstatic.program.paths.store import Changes, Key
from tcstatic.program.paths.values import Class, Const, Phi, Value, joined, options, same
from tcstatic.program.source import syntax

# How often a body is run anew: what was not gone through before may leave further values behind.
MOST: Final = 2
_OPTIONS: Final = 6


def decided(m: Machine, test: syntax.expr) -> None:
    """Remember what a condition asks for whose truth is known, for the loops around it."""
    if not m.loops:
        return
    asked: set[int | str] = set()
    for part in syntax.walk(test):
        if isinstance(part, syntax.Attribute):
            asked.add(part.attr)
        elif isinstance(part, syntax.Subscript) and isinstance(part.slice, syntax.Constant):
            asked.add(lookup.key_of(Const(part.slice.value)))
        elif isinstance(part, syntax.Name):
            numbers = (m.frame.number, *m.frame.scopes, m.frame.module.scope)
            held = (m.cells.get((number, part.id)) for number in numbers)
            asked.update(value.number for value in held if value is not None)
    for state in m.loops:
        state.decided |= asked


def varying(m: Machine, state: LoopState, before: Changes, ends: Iterable[Changes]) -> Changes:
    """What cells may hold in any round that decided something, and hold another value after one.

    `before` is what they held when the body was begun, the cells themselves what they held ahead of
    the loop.
    """
    found: Changes = {}
    for end in ends:
        for key, left in end.items():
            held = m.cells.get(key) or _of_class(m, key)
            begun = before.get(key, held)
            if held is None or begun is None or left is None or begun is left:
                continue
            if not state.decided & {begun.number, key[1]}:
                continue
            known = found.get(key) or begun
            if any(not _is_one_of(one, known) for one in options(left, _OPTIONS)):
                found[key] = joined([*options(known, _OPTIONS), *options(left, _OPTIONS)])
    return found


def _of_class(m: Machine, key: Key) -> Value | None:
    """What an object's class says of an attribute that the object has not yet."""
    held = m.objects.get(key[0])
    if held is None or not isinstance(held.type, Class):
        return None
    value = lookup.class_attribute(m, held.type, key[1])
    return value if isinstance(value, Const) else None


def set_any(m: Machine, values: Changes) -> list[tuple[Key, Phi]]:
    """Let cells hold any of what they may hold at the beginning of a round: another in each."""
    found = [(key, Phi(options(one, _OPTIONS))) for key, one in values.items() if one is not None]
    for key, phi in found:
        m.cells.set(key, phi)
    return found


def _is_one_of(value: Value, known: Value) -> bool:
    return value is known or any(same(value, one) for one in options(known, _OPTIONS))


def stored_names(node: syntax.AST) -> set[str]:
    """The names that statements within a loop bind."""
    names: set[str] = set()
    for inner in statements_in(node):
        targets = list(getattr(inner, "targets", ()))
        targets.append(getattr(inner, "target", None))
        targets += [item.optional_vars for item in getattr(inner, "items", ())]
        for target in targets:
            if isinstance(target, syntax.Name):
                names.add(target.id)
            elif isinstance(target, syntax.Tuple | syntax.List):
                names |= {one.id for one in syntax.walk(target) if isinstance(one, syntax.Name)}
    return names
