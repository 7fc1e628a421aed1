"""Expressions -> values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tcstatic.program.paths import calls, control, lookup, narrowing, varying
from tcstatic.program.paths.conditions import comparison, named, truth
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Branch
from tcstatic.program.paths.values import (
    Const,
    Function,
    Listing,
    Node,
    Phi,
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

_OPERATORS: Final[dict[type, str]] = {
    syntax.Add: "+",
    syntax.Sub: "-",
    syntax.Mult: "*",
    syntax.Div: "/",
    syntax.FloorDiv: "//",
    syntax.Mod: "%",
    syntax.Pow: "**",
    syntax.MatMult: "@",
    syntax.BitAnd: "&",
    syntax.BitOr: "|",
    syntax.BitXor: "^",
    syntax.LShift: "<<",
    syntax.RShift: ">>",
    syntax.Eq: "==",
    syntax.NotEq: "!=",
    syntax.Lt: "<",
    syntax.LtE: "<=",
    syntax.Gt: ">",
    syntax.GtE: ">=",
    syntax.Is: "is",
    syntax.IsNot: "is not",
    syntax.In: "in",
    syntax.NotIn: "not in",
    syntax.UAdd: "pos",
    syntax.USub: "neg",
    syntax.Invert: "~",
}


def operator(node: syntax.AST) -> str:
    """The sign of an operator."""
    return _OPERATORS.get(type(node), type(node).__name__)


def evaluate(m: Machine, node: syntax.expr) -> Value:
    """What an expression stands for; its happenings are written on the way."""
    if m.spend():
        return Unknown("budget")
    handler = _HANDLERS.get(type(node))
    if handler is None:
        return m.unknown("expression", "", node)
    return handler(m, node)


def _constant(m: Machine, node: Any) -> Value:
    return Const(node.value, m.place(node))


def _name(m: Machine, node: Any) -> Value:
    return lookup.name(m, node.id)


def _attribute(m: Machine, node: Any) -> Value:
    return lookup.attribute(m, evaluate(m, node.value), lookup.spelt(node.attr), node)


def _binary(m: Machine, node: Any) -> Value:
    left, right = evaluate(m, node.left), evaluate(m, node.right)
    op = operator(node.op)
    if isinstance(left, Const) and isinstance(right, Const):
        folded = _folded(op, left.value, right.value)
        if folded is not None:
            return Const(folded, m.place(node))
    if op in ("*", "+") and (isinstance(left, Listing) or isinstance(right, Listing)):
        return _listing_arithmetic(m, op, left, right, node)
    return m.node(op, (left, right), node)


def _folded(op: str, left: Any, right: Any) -> Any:
    if type(left) is not type(right) or not isinstance(left, int | str) or isinstance(left, bool):
        return None
    if op == "+":
        return left + right if not isinstance(left, str) or len(left) < 200 else None
    if isinstance(left, str):
        return None
    return (
        left - right if op == "-" else left * right if op == "*" and abs(left) < 1 << 20 else None
    )


def _listing_arithmetic(m: Machine, op: str, left: Value, right: Value, node: syntax.expr) -> Value:
    result = Listing("list", m.place(node))
    sources = [side for side in (left, right) if isinstance(side, Listing)]
    items = [item for side in sources for item in lookup.items(m, side)]
    lookup.fill(m, result, items, closed=False)
    if op == "*":
        m.set_attribute(result, "#repeated", m.node("repeat", (left, right), node))
    return result


def _unary(m: Machine, node: Any) -> Value:
    value = evaluate(m, node.operand)
    if isinstance(node.op, syntax.Not):
        known = truth(value)
        if known is not None:
            varying.decided(m, node.operand)
        return Const(not known) if known is not None else m.node("not", (value,), node)
    op = operator(node.op)
    if isinstance(value, Const) and op == "neg" and isinstance(value.value, int | float):
        return Const(-value.value, m.place(node))
    return m.node(op, (value,), node)


def _boolean(m: Machine, node: Any) -> Value:
    op = "and" if isinstance(node.op, syntax.And) else "or"
    parts: list[Value] = []
    for part in node.values:
        value = evaluate(m, part)
        known = truth(value)
        if known is not None:
            varying.decided(m, part)
        if known is (op == "or"):
            parts.append(value)
            break
        if known is None or part is node.values[-1]:
            parts.append(value)
    if len(parts) == 1:
        return parts[0]
    return m.node(op, tuple(parts), node)


def _compare(m: Machine, node: Any) -> Value:
    left = evaluate(m, node.left)
    parts: list[Value] = []
    for sign, comparator in zip(node.ops, node.comparators, strict=True):
        right = evaluate(m, comparator)
        op = operator(sign)
        known = comparison(op, left, right)
        if known is None and op in ("in", "not in"):
            known = narrowing.contains(m, left, right, op)
        if known is not None:
            varying.decided(m, node)
        parts.append(Const(known) if known is not None else m.node(op, (left, right), node))
        left = right
    return parts[0] if len(parts) == 1 else m.node("and", tuple(parts), node)


def _conditional(m: Machine, node: Any) -> Value:
    test = evaluate(m, node.test)
    known = truth(test)
    if known is not None:
        varying.decided(m, node.test)
        return evaluate(m, node.body if known else node.orelse)
    key, flipped, birth = named(test)
    values: list[Value] = []
    branch = Branch(key, birth, [])
    outcomes = []
    told = narrowing.told(m, node.test, test)
    for part, left in zip((node.body, node.orelse), told, strict=True):
        mark = m.cells.mark()
        with m.writing(Block()) as block:
            narrowing.apply(m, left)
            values.append(evaluate(m, part))
        branch.alternatives.append(block)
        outcomes.append(m.cells.undo(mark))
    narrowing.forget(m, told, outcomes)
    m.cells.merge(outcomes)
    if flipped:
        branch.alternatives.reverse()
        values.reverse()
    if any(block.steps for block in branch.alternatives):
        m.block.steps.append(branch)
    result = joined(values)
    if isinstance(result, Phi) and result not in values:
        result.ways = (key, birth, tuple(values))
    return result


def _sequence(m: Machine, node: Any) -> Value:
    kind = type(node).__name__.lower()
    result = Listing(kind, m.place(node))
    closed, items = True, []
    for element in node.elts:
        value = evaluate(m, element)
        if isinstance(element, syntax.Starred):
            known = lookup.items(m, value) if isinstance(value, Listing) else []
            items.extend(known or [m.node("item", (value,), element)])
            closed = closed and bool(known)
        else:
            items.append(value)
    lookup.fill(m, result, items, closed=closed)
    return result


def _dictionary(m: Machine, node: Any) -> Value:
    result = Listing("dict", m.place(node))
    for key, value in zip(node.keys, node.values, strict=True):
        held = evaluate(m, value)
        if key is None:
            lookup.update(m, result, held)
            continue
        name = evaluate(m, key)
        lookup.put(m, result, name, held)
    return result


def _subscript(m: Machine, node: Any) -> Value:
    holder = evaluate(m, node.value)
    if isinstance(node.slice, syntax.Slice):
        bounds = {
            text: evaluate(m, part)
            for text in ("lower", "upper", "step")
            if (part := getattr(node.slice, text)) is not None
        }
        if isinstance(holder, Listing):
            return _part(m, holder, bounds, node) if bounds else holder
        return m.node("item", (holder,), node, keywords=bounds)
    return lookup.item(m, holder, evaluate(m, node.slice), node)


def _part(m: Machine, holder: Listing, bounds: dict[str, Value], node: Any) -> Listing:
    """A slice of a listing: another listing, of some of its items."""
    made, held = Listing(holder.kind, m.place(node)), lookup.items(m, holder)
    told = {text: one.value for text, one in bounds.items() if isinstance(one, Const)}
    whole = all(one is None or type(one) is int for one in told.values())
    closed = len(told) == len(bounds) and whole and not lookup.is_open(m, holder)
    if closed:
        held = held[slice(told.get("lower"), told.get("upper"), told.get("step") or None)]
    lookup.fill(m, made, held, closed=closed)
    return made


def _comprehension(m: Machine, node: Any) -> Value:

    kind = "dict" if isinstance(node, syntax.DictComp) else "list"
    elements = (node.key, node.value) if isinstance(node, syntax.DictComp) else (node.elt,)
    result = Listing(kind, m.place(node))
    values, closed = control.comprehension(m, node, node.generators, elements)
    lookup.fill(m, result, values, closed=closed)
    return result


def _lambda(m: Machine, node: Any) -> Value:
    frame = m.frame
    return Function(node, frame.module, f"{frame.name}.<lambda>", (frame.number, *frame.scopes))


def _walrus(m: Machine, node: Any) -> Value:
    value = evaluate(m, node.value)
    lookup.assign_name(m, node.target.id, value)
    return value


def _starred(m: Machine, node: Any) -> Value:
    return evaluate(m, node.value)


def _text(m: Machine, node: Any) -> Value:
    parts = tuple(
        evaluate(m, part.value) for part in node.values if isinstance(part, syntax.FormattedValue)
    )
    return m.node("text", parts, node)


def _waited(m: Machine, node: Any) -> Value:
    return evaluate(m, node.value) if node.value is not None else Const(None)


def _yielded(m: Machine, node: Any) -> Value:
    value = evaluate(m, node.value) if node.value is not None else Const(None)
    m.frame.yields.append(value)
    if m.frame.body is not None:
        m.frame.body(value)
    return m.unknown("sent", "", node)


def _call(m: Machine, node: Any) -> Value:
    return calls.call_expression(m, node)


def is_open(value: Value) -> bool:
    """Whether a value may be something that the source does not tell."""
    return any(isinstance(option, Unknown | Node | Phi) for option in options(value))


_HANDLERS: Final[dict[type, Callable[[Machine, Any], Value]]] = {
    syntax.Constant: _constant,
    syntax.Name: _name,
    syntax.Attribute: _attribute,
    syntax.BinOp: _binary,
    syntax.UnaryOp: _unary,
    syntax.BoolOp: _boolean,
    syntax.Compare: _compare,
    syntax.IfExp: _conditional,
    syntax.List: _sequence,
    syntax.Tuple: _sequence,
    syntax.Set: _sequence,
    syntax.Dict: _dictionary,
    syntax.Subscript: _subscript,
    syntax.ListComp: _comprehension,
    syntax.SetComp: _comprehension,
    syntax.GeneratorExp: _comprehension,
    syntax.DictComp: _comprehension,
    syntax.Lambda: _lambda,
    syntax.NamedExpr: _walrus,
    syntax.Starred: _starred,
    syntax.JoinedStr: _text,
    syntax.Await: _waited,
    syntax.Yield: _yielded,
    syntax.YieldFrom: _yielded,
    syntax.Call: _call,
}
