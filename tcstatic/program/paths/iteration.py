"""What a loop takes from what it goes over."""

from __future__ import annotations

from typing import Any

from tcstatic.program.paths import calls, functions, lookup
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import (
    Class,
    Function,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax


def element(m: Machine, iterable: Value, at: syntax.expr) -> Value:
    """What one round of a loop over a value gives."""
    if isinstance(iterable, Listing):
        if iterable.kind == "dict":
            return m.node("key", (iterable,), at)
        known = lookup.items(m, iterable)
        return joined(known) if known else m.node("item", (iterable,), at)
    if isinstance(iterable, Object) and isinstance(iterable.type, Class):
        method = lookup.class_attribute(m, iterable.type, "__iter__")
        if isinstance(method, Function) and iterable.role not in ("model", "loader"):
            result = functions.call_function(m, method, (iterable,), {}, at)
            if isinstance(result, Listing):
                return element(m, result, at)
    if isinstance(iterable, Node):
        special = _element_of_node(m, iterable, at)
        if special is not None:
            return special
    made = m.node("item", (iterable,), at)
    if isinstance(iterable, Node) and iterable.op == "parameters":
        made.subject = iterable.subject
        made.keywords = iterable.keywords
    return made


def _element_of_node(m: Machine, iterable: Node, at: syntax.expr) -> Value | None:
    if iterable.op == "enumerate" and iterable.inputs:
        pair = Listing("tuple")
        inner = joined([element(m, one, at) for one in options(iterable.inputs[0], 4)])
        lookup.fill(m, pair, [m.node("index", (iterable,), at), inner], closed=True)
        return pair
    if iterable.op == "zip":
        pair = Listing("tuple")
        parts = [
            joined([element(m, one, at) for one in options(part, 4)]) for part in iterable.inputs
        ]
        lookup.fill(m, pair, parts, closed=True)
        return pair
    if iterable.op == "items" and iterable.inputs and isinstance(iterable.inputs[0], Listing):
        pair = Listing("tuple")
        known = lookup.items(m, iterable.inputs[0])
        value = joined(known) if known else m.node("item", iterable.inputs, at)
        lookup.fill(m, pair, [m.node("key", iterable.inputs, at), value], closed=True)
        return pair
    if iterable.op == "iter" and iterable.inputs:
        return joined([element(m, one, at) for one in options(iterable.inputs[0], 4)])
    if iterable.op == "named_parameters":
        pair = Listing("tuple")
        item = m.node("item", (iterable,), at, keywords=dict(iterable.keywords))
        item.subject = iterable.subject
        lookup.fill(m, pair, [m.node("key", (iterable,), at), item], closed=True)
        return pair
    return None


def iterated(m: Machine, iterable: Value, node: Any) -> None:
    """A loop takes its next element."""
    for one in options(iterable, 4):
        inner, choices = one, len(options(iterable, 4))
        while isinstance(inner, Node) and inner.op in ("enumerate", "iter", "zip") and inner.inputs:
            choices = max(choices, len(options(inner.inputs[0], 4)))
            inner = only_option(inner.inputs[0])
        at = node.iter if hasattr(node, "iter") else node
        if calls.role_of_value(m, inner) == "loader" and isinstance(inner, Object | Unknown):
            m.loops[-1].loop.role = "loader"
            m.emit(
                "loader.next",
                at,
                subjects={"loader": (inner.number,)},
                values={"choices": choices},
                receiver=inner,
            )
        elif _is_one_shot(inner):
            m.emit("call", at, values={"operation": "consumed"}, receiver=inner)


def _is_one_shot(value: Value) -> bool:
    """Whether going through a value uses it up."""
    if isinstance(value, Node):
        return value.op in ("parameters", "named_parameters", "filter")
    made = value.place.node if isinstance(value, Listing) and value.place is not None else None
    return isinstance(made, syntax.GeneratorExp)


def only_option(value: Value) -> Value:
    """The first of the options."""
    return options(value, 2)[0] if options(value, 2) else value
