"""Terms of a loss that are constants although a trained model is behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Class, Const, Listing, Node, Object, Phi, Value
from tcstatic.program.paths.walking import (
    Reach,
    Token,
    differentiable,
    differentiated,
    is_choice,
    is_first_order,
    reach,
    upstream,
)

_SUMS: Final = frozenset({"+", "-", "add", "sub"})
_FACTORS: Final = frozenset({"*", "/", "mul", "div"})
_SAME: Final = frozenset("neg sum mean float double half to cuda squeeze stack cat scale".split())
# Cuts that choose among classes or compare: the scores are lost, not only the graph.
_CHOICES: Final = frozenset("argmax argmin argsort round floor ceil sign".split())
_COMPARISONS: Final = frozenset("< <= > >= == != lt le gt ge eq ne".split())
_FIRST_ORDER: Final = "gradients that autograd.grad gives without a graph (create_graph)"
_VALUES: Final = frozenset(
    "item() detach detach_ tolist numpy attr:data float_ tensor as_tensor new_tensor".split()
)
_MOST: Final = 40
_DEEP: Final = 12


@surveys
def terms(m: Machine, block: Block) -> None:
    """Emit a ``call`` for each cut: ``lost_term`` (by item, detach, ...), ``chosen_term``, or
    ``flat_term`` (by a comparison, or gradients of first order)."""
    told: set[int] = set()
    for one in list(happenings(block)):
        if one.kind != "loss.backward" or one.values.get("connected") is False:
            continue
        cuts = _lost(m, list(_terms(m, one.arguments[0], set())))
        found = [cut for cut in cuts if cut.place is not None]
        for cut in found:
            if cut.number not in told:
                told.add(cut.number)
                _tell_cut(block, one, cut)
        if not found and one.values.get("connected"):
            for what in ("lost_term", "chosen_term", "flat_term"):
                tell(block, what, one.place, says=False, subjects=one.subjects)


def _tell_cut(block: Block, backward: Happening, cut: Node) -> None:
    assert cut.place is not None
    chosen = cut.op in _CHOICES or is_choice(cut)
    what, name = "chosen_term" if chosen else "lost_term", cut.op.removesuffix("()")
    if _is_flat(cut):
        what, name = "flat_term", _FIRST_ORDER if is_first_order(cut) else f"a comparison ({name})"
    about, facts = backward.subjects, backward.facts
    tell(block, what, cut.place, subjects=about, facts=facts, cut=name)


def _is_flat(cut: Node) -> bool:
    return cut.op in _COMPARISONS or is_first_order(cut)


def _terms(m: Machine, value: Value, seen: set[int]) -> Iterator[Value]:
    """What a sum is made of; factors that are plain numbers do not matter."""
    if id(value) in seen or len(seen) > _MOST:
        return
    seen.add(id(value))
    if isinstance(value, Phi):
        for option in value.options:
            yield from _terms(m, option, seen)
    elif isinstance(value, Listing):
        for item in lookup.items(m, value):
            yield from _terms(m, item, seen)
    elif isinstance(value, Node) and value.op in _SUMS | {"sum"}:
        for part in value.inputs[:2] if value.op != "sum" else value.inputs[:1]:
            yield from _terms(m, part, seen)
    elif isinstance(value, Node) and value.op in _FACTORS and len(value.inputs) == 2:
        live = [part for part in value.inputs if not _constant(m, part)]
        yield from _terms(m, live[0], seen) if len(live) == 1 else iter((value,))
    elif isinstance(value, Node) and (value.op in _SAME or _is_own(value)) and value.inputs:
        yield from _terms(m, value.inputs[0], seen)
    else:
        yield value


def _is_own(value: Node) -> bool:
    """Whether a value is what a module of the program's own returned."""
    known = value.op == "forward" and isinstance(value.subject, Object)
    return known and isinstance(value.subject, Object) and isinstance(value.subject.type, Class)


def _constant(m: Machine, value: Value) -> bool:
    """Whether no model is behind a value, neither live nor cut."""
    found = reach(m, value)
    return not found.tokens and not found.forwards and not any(behind(m, c) for c in found.cuts)


def behind(m: Machine, cut: Node) -> frozenset[Token]:
    """The parameters that a value depended on before it was cut."""
    waiting, seen = [cut], {cut.number}
    while waiting and len(seen) < _MOST:
        one = waiting.pop(0)
        if one.op == "forward":
            continue
        reached = [reach(m, part) for part in _given(one)]
        found = frozenset[Token]().union(*(part.tokens for part in reached))
        if found:
            return found
        inner = [c for part in reached for c in part.cuts if c.number not in seen]
        waiting.extend(inner[:3])
        seen.update(c.number for c in inner[:3])
    return frozenset()


def _given(cut: Node) -> tuple[Value, ...]:
    """What a cut was made of."""
    taken = differentiated(cut) if is_first_order(cut) else None
    return cut.inputs if taken is None else (taken,)


def _lost(m: Machine, found: list[Value]) -> Iterator[Node]:
    reached = [(value, reach(m, value)) for value in found]
    live = frozenset[Token]().union(*(one.tokens for _, one in reached))
    if not live:
        return
    for value, one in reached:
        if one.tokens or one.forwards or one.unknown or isinstance(value, Const):
            continue
        cut = _deepest(m, one)
        if cut is not None and _is_flat(cut):
            if not behind(m, cut) & live or _is_of_weights(m, cut):
                continue
            if any(_is_offset(m, cut, other) for other, its in reached if its.tokens):
                continue
        if cut is not None and not _balanced(m, cut, found, value):
            yield cut


def _is_of_weights(m: Machine, cut: Node) -> bool:
    """Whether parameters are compared, and nothing that a model gave: they are counted, and what
    makes them few is a step of its own."""
    behind_it = upstream(m, cut, lambda _: True)
    return cut.op in _COMPARISONS and not any(
        isinstance(one, Node) and (one.op == "forward" or one.op.startswith("call"))
        for one in behind_it
    )


def _is_offset(m: Machine, cut: Node, other: Value) -> bool:
    """Whether the error that is compared is what another term is made of: its pieces meet there."""
    errors = [
        one
        for one in cut.inputs
        if isinstance(one, Node)
        and any(
            isinstance(part, Node) and part.op in ("-", "sub")
            for part in upstream(m, one, lambda held: not _is_forward(held))
        )
    ]
    return cut.op in _COMPARISONS and any(
        inner is one for one in errors for inner in upstream(m, other, differentiable)
    )


def _is_forward(value: Value) -> bool:
    return isinstance(value, Node) and value.op == "forward"


def _deepest(m: Machine, found: Reach, depth: int = 0) -> Node | None:
    """The cut that is nearest to the model; None where something else may be behind it."""
    for cut in found.cuts if depth < _DEEP else ():
        given = _given(cut)
        inner = [c for part in given for c in reach(m, part).cuts]
        if any(reach(m, part).tokens for part in given):
            known = cut.op in _VALUES | _CHOICES or _is_flat(cut) or is_choice(cut)
            return cut if known else None
        if any(reach(m, part).unknown for part in given):
            return None
        for deeper in inner:
            if behind(m, deeper):
                return _deepest(m, Reach(frozenset(), (), False, (deeper,)), depth + 1)
    return None


def _balanced(m: Machine, cut: Node, found: list[Value], value: Value) -> bool:
    """Whether a live term is in what was cut, to be cancelled; or the cut value is part of a live
    term as well, as a maximum that is taken out of an exponent and put back."""
    inside = [*cut.inputs, *(term for part in cut.inputs for term in _terms(m, part, set()))]
    if any(part is other for part in inside for other in found):
        return True
    return any(
        inner is cut
        for other in found
        if other is not value
        for inner in upstream(m, other, lambda _: True)
    )
