"""Questions about how a value came about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar, final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import CUTS
from tcstatic.program.paths.values import (
    Const,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
)

_LIMIT: Final = 3000
# The arguments of `torch.autograd.grad`, and the position of `create_graph` among them.
_OF_GRADIENTS: Final = frozenset(
    """outputs inputs grad_outputs retain_graph create_graph only_inputs allow_unused
    is_grads_batched materialize_grads""".split()
)
_CREATES: Final = 4
_NOTHING: Final = Const(None)
_CHOOSERS: Final = frozenset({"max", "min", "topk", "sort", "kthvalue", "median", "mode"})
Token = tuple[int, int]
# Values that may have come about in any way.
_UNTOLD: Final = frozenset({"attribute", "budget", "name", "recursion", "starred"})
# How often the parameters of an object were replaced as a whole: the second part of its token.
VERSION: Final = "#version"
_Found = TypeVar("_Found")


@final
@dataclass(frozen=True, slots=True)
class Reach:
    """What a backward from a value gets to: parameters, the forwards on the way, and whether
    there is something on the way that the source does not tell. `cuts` are the operations that
    stopped it."""

    tokens: frozenset[Token]
    forwards: tuple[Node, ...]
    unknown: bool
    cuts: tuple[Node, ...]


def inputs_of(m: Machine, value: Value) -> Iterator[Value]:
    """What a value was made of, directly."""
    if isinstance(value, Phi):
        yield from value.options
    elif isinstance(value, Node):
        yield from value.inputs
        yield from value.keywords.values()
    elif isinstance(value, Listing):
        yield from lookup.items(m, value)


def walked(
    values: Iterable[Value], onward: Callable[[Value], Iterable[Value]], most: int = _LIMIT
) -> Iterator[Value]:
    """Values and those that `onward` leads to, each once, so many at most."""
    waiting = list(values)
    seen: set[int] = set()
    while waiting and len(seen) < most:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting.extend(onward(one))


def same_of_all(
    value: Phi, asked: Callable[[Value, int], _Found | None], depth: int
) -> _Found | None:
    """What is asked of a value, where all that it may be have the very same; None elsewhere. What
    a loop carries may be made of itself: `asked` is given how much deeper it may ask."""
    found = [asked(one, depth - 1) for one in value.options] if depth else []
    return found[0] if found and all(one is found[0] for one in found) else None


def upstream(m: Machine, value: Value, through: Callable[[Value], bool]) -> Iterator[Value]:
    """A value and all it was made of, as long as `through` says to go on behind one."""
    return walked((value,), lambda one: inputs_of(m, one) if through(one) else ())


def reach(m: Machine, value: Value) -> Reach:
    """What a backward from this value reaches."""
    tokens: set[Token] = set()
    forwards: list[Node] = []
    cuts: list[Node] = []
    unknown = False
    for one in upstream(m, value, differentiable):
        if isinstance(one, Node):
            if _is_cut(one):
                cuts.append(one)
                continue
            brought = _tokens_at(m, one)
            tokens |= brought
            if one.op == "forward":
                forwards.append(one)
            bare = one.op == "parameter" and not brought
            unknown = unknown or bare or one.op.startswith("call")
        elif isinstance(one, Unknown):
            unknown = unknown or one.origin in _UNTOLD
    return Reach(frozenset(tokens), tuple(forwards), unknown, tuple(cuts))


def _tokens_at(m: Machine, one: Node) -> frozenset[Token]:
    """The parameters that an operation itself brings in."""
    if one.op == "parameter":
        return tokens_of_parameter(m, one)
    if one.op != "forward" and (one.op not in ("parameters", "item") or one.subject is None):
        return frozenset()
    held = one.keywords.get("#tokens")
    return held.value if isinstance(held, Const) else frozenset()


def tokens_of_parameter(m: Machine, one: Node) -> frozenset[Token]:
    """The token of the model that has a parameter, as it is now; its own where it stands alone."""
    if one.subject is not None:
        version = m.cells.get((one.subject.number, VERSION))
        return frozenset({(one.subject.number, version.value if isinstance(version, Const) else 0)})
    held = one.keywords.get("#tokens")
    return held.value if isinstance(held, Const) else frozenset()


def _is_cut(one: Node) -> bool:
    if one.op in CUTS or is_choice(one) or is_first_order(one):
        return True
    return one.op == "forward" and bool(one.regions) and one.keywords.get("#grad") is not None


def is_first_order(one: Node) -> bool:
    """Whether a value is gradients that ``torch.autograd.grad`` gives as plain numbers."""
    if one.op != "grad" or set(one.keywords) - _OF_GRADIENTS:
        return False
    if len(one.inputs) > _CREATES or not isinstance(differentiated(one), Node | Phi | Listing):
        return False
    created = one.keywords.get("create_graph", _NOTHING)
    return isinstance(created, Const) and not created.value


def differentiated(one: Node) -> Value | None:
    """What gradients are taken of."""
    first = one.inputs[0] if one.inputs else None
    given = one.keywords.get("outputs", first)
    both = len(one.inputs) + len({"outputs", "inputs"} & set(one.keywords)) >= 2
    return given if both else None


def is_choice(one: Node) -> bool:
    """Whether a value is the positions that ``max(dim=)``, ``topk`` or ``sort`` give."""
    if one.op == "attr:indices":
        return True
    if one.op != "item" or len(one.inputs) != 2:
        return False
    holder, index = one.inputs
    return (
        isinstance(holder, Node)
        and holder.op in _CHOOSERS
        and (len(holder.inputs) > 1 or bool(holder.keywords))
        and isinstance(index, Const)
        and index.value == 1
    )


def differentiable(value: Value) -> bool:
    """Whether gradients flow through what made a value."""
    return not (isinstance(value, Node) and _is_cut(value))


def listed(m: Machine, value: Value) -> Iterable[Value]:
    """What a value may be, or what it lists."""
    if isinstance(value, Phi):
        return value.options
    return lookup.items(m, value) if isinstance(value, Listing) else ()


def objects_in(m: Machine, values: Iterable[Value]) -> Iterator[Object | Unknown]:
    """Objects among values and within listings, not behind operations."""
    for one in walked(values, lambda value: listed(m, value)):
        if isinstance(one, Object | Unknown):
            yield one
