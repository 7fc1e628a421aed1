"""Statements: what they bind, and which way the program may go."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from tcstatic.program.paths import calls, control, lookup
from tcstatic.program.paths.expressions import evaluate, operator
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import absolute
from tcstatic.program.paths.values import (
    Class,
    Const,
    Function,
    Imported,
    Listing,
    Node,
    Object,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

# Listings of objects up to this length are gone through element by element.
UNROLLED: Final = 4


def run(m: Machine, body: list[syntax.stmt]) -> None:
    """Run statements until the path leaves the block."""
    handlers = _handlers()
    for statement in body:
        if m.dead or m.exhausted:
            return
        m.spend()
        handler = handlers.get(type(statement))
        if handler is not None:
            handler(m, statement)


def binding(m: Machine, statement: syntax.stmt, text: str) -> Value | None:
    """What one module-level statement binds a name to, by itself."""
    if isinstance(statement, syntax.FunctionDef | syntax.AsyncFunctionDef):
        return function(m, statement)
    if isinstance(statement, syntax.ClassDef):
        return class_(m, statement)
    if isinstance(statement, syntax.AnnAssign):
        return evaluate(m, statement.value) if statement.value is not None else None
    if isinstance(statement, syntax.Assign):
        run(m, [statement])
        return m.cells.get((m.frame.number, text))
    return None


def function(m: Machine, node: Any, owner: Class | None = None) -> Function:
    """The function that a definition makes."""
    frame = m.frame
    prefix = owner.name if owner is not None else frame.name
    decorators = tuple(evaluate(m, decorator) for decorator in node.decorator_list)
    scopes = (frame.number, *frame.scopes)
    name = f"{prefix}.{node.name}" if prefix else node.name
    return Function(node, frame.module, name, scopes, owner, decorators)


def class_(m: Machine, node: syntax.ClassDef) -> Class:
    """The class that a definition makes; its methods are functions, its body runs silently."""
    known = m.classes.get(node)
    if isinstance(known, Class) and known.scopes[:1] == (m.frame.number,):
        return known
    frame = m.frame
    bases: list[Value] = []
    for base in node.bases:
        bases.extend(options(evaluate(m, base), 4))
    name = f"{frame.name}.{node.name}" if frame.name else node.name
    made = Class(node, frame.module, name, (frame.number, *frame.scopes), tuple(bases))
    m.classes[node] = made
    for statement in _class_body(node.body):
        if isinstance(statement, syntax.FunctionDef | syntax.AsyncFunctionDef):
            made.namespace[statement.name] = function(m, statement, made)
        elif isinstance(statement, syntax.ClassDef):
            made.namespace[statement.name] = class_(m, statement)
        elif isinstance(statement, syntax.Assign) and len(statement.targets) == 1:
            _class_value(made, statement.targets[0], statement.value)
        elif isinstance(statement, syntax.AnnAssign) and statement.value is not None:
            _class_value(made, statement.target, statement.value)
    return made


def _class_body(body: list[syntax.stmt]) -> list[syntax.stmt]:
    flat: list[syntax.stmt] = []
    for statement in body:
        flat.append(statement)
        if isinstance(statement, syntax.If):
            flat.extend(_class_body([*statement.orelse, *statement.body]))
    return flat


def _class_value(made: Class, target: syntax.expr, value: syntax.expr) -> None:
    if isinstance(target, syntax.Name):
        if isinstance(value, syntax.Name) and value.id in made.namespace:
            made.namespace[target.id] = made.namespace[value.id]
        else:
            made.pending[target.id] = value


def assign(m: Machine, target: syntax.expr, value: Value) -> None:
    """Bind a target, whatever it is."""
    if isinstance(target, syntax.Name):
        lookup.assign_name(m, target.id, value)
        if target.id == "_" and isinstance(value, Node) and value.op == "forward":
            m.emit("call", target, values={"operation": "ignored"}, node=value)
    elif isinstance(target, syntax.Attribute):
        text = lookup.spelt(target.attr)
        calls.set_attribute(m, evaluate(m, target.value), text, value, target)
    elif isinstance(target, syntax.Subscript):
        holder = evaluate(m, target.value)
        index = evaluate(m, target.slice) if not isinstance(target.slice, syntax.Slice) else None
        calls.set_item(m, holder, index, value, target)
    elif isinstance(target, syntax.Starred):
        assign(m, target.value, value)
    elif isinstance(target, syntax.Tuple | syntax.List):
        _unpack(m, target.elts, value)


def _unpack(m: Machine, targets: list[syntax.expr], value: Value) -> None:
    listings = [one for one in options(value, 12) if isinstance(one, Listing)]
    for index, target in enumerate(targets):
        if listings:
            parts = [_part(m, one, index, target) for one in listings]
            part = parts[0] if len(parts) == 1 else joined(parts)
        else:
            part = lookup.item(m, value, Const(index), target)
        assign(m, target, part)


def _part(m: Machine, listing: Listing, index: int, target: syntax.expr) -> Value:
    """What a listing has for one of several targets."""
    held = m.attribute(listing, f"[{index}]")
    if held is not None:
        return held
    known = lookup.items(m, listing)
    if index and len(known) == 1 and lookup.is_open(m, listing) and isinstance(known[0], Object):
        # one stands for all that a comprehension makes, and they are not one another
        return m.node("item", (listing,), target)
    return joined(known) if known else m.node("item", (listing,), target)


def _assign(m: Machine, node: Any) -> None:
    begun = Const(None).number
    value = evaluate(m, node.value)
    if len(node.targets) > 1:
        begun = Const(None).number  # one that is made here has two names as well
    for target in node.targets:
        assign(m, target, value)
        _told_aliases(m, target, node.value, value, begun)


def _told_aliases(
    m: Machine, target: syntax.expr, source: syntax.expr, value: Value, begun: int
) -> None:
    """Tell of a further name for a model that was made before."""
    if isinstance(target, syntax.Tuple | syntax.List):
        if isinstance(source, syntax.Tuple | syntax.List) and isinstance(value, Listing):
            for index, (inner, part) in enumerate(zip(target.elts, source.elts, strict=False)):
                held = m.attribute(value, f"[{index}]")
                if held is not None:
                    _told_aliases(m, inner, part, held, begun)
        return
    text = target.attr if isinstance(target, syntax.Attribute) else getattr(target, "id", "")
    named = isinstance(source, syntax.Name | syntax.Attribute | syntax.Call)
    known = isinstance(value, Object) and value.role == "model" and value.number < begun
    if text and named and known and isinstance(value, Object):
        m.emit(
            "call",
            source,
            subjects={"model": (value.number,)},
            values={"operation": "alias", "name": text},
            receiver=value,
        )


def _annotated(m: Machine, node: Any) -> None:
    if node.value is not None:
        assign(m, node.target, evaluate(m, node.value))


def _augmented(m: Machine, node: Any) -> None:
    before = evaluate(m, node.target)
    value = evaluate(m, node.value)
    if isinstance(before, Listing) and isinstance(node.op, syntax.Add):
        for item in lookup.items(m, value) if isinstance(value, Listing) else [value]:
            lookup.add(m, before, item)
        return
    made = m.node(operator(node.op), (before, value), node.target)
    assign(m, node.target, made)
    calls.augmented(m, node, before, made)


def _expression(m: Machine, node: Any) -> None:
    value = evaluate(m, node.value)
    calls.dropped(m, node.value, value)


def _return(m: Machine, node: Any) -> None:
    value = evaluate(m, node.value) if node.value is not None else Const(None)
    if m.dead:
        return
    frame = m.frame
    frame.returns.append((value, m.cells.changes(frame.mark)))
    m.leave("return")


def _raise(m: Machine, node: Any) -> None:
    if node.exc is not None:
        evaluate(m, node.exc)
    m.leave("raise")


def _break(m: Machine, node: Any) -> None:
    _leave_loop(m, "break")


def _continue(m: Machine, node: Any) -> None:
    _leave_loop(m, "continue")


def _leave_loop(m: Machine, kind: Any) -> None:
    if m.loops:
        state = m.loops[-1]
        state.left.append(m.cells.changes(state.mark))
    m.leave(kind)


def _function(m: Machine, node: Any) -> None:
    made = function(m, node)
    if m.frame.function is not None:
        m.defined.append(made)
    m.cells.set((m.frame.number, node.name), made)


def _class(m: Machine, node: Any) -> None:
    m.cells.set((m.frame.number, node.name), class_(m, node))


def _import(m: Machine, node: Any) -> None:
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        path = alias.name if alias.asname else bound
        m.cells.set((m.frame.number, bound), Imported(m.frame.module, path, ""))


def _import_from(m: Machine, node: Any) -> None:
    module = m.frame.module
    source = absolute(module, node.module or "", node.level)
    for alias in node.names:
        if alias.name == "*":
            _star(m, source)
        else:
            value = Imported(module, source, alias.name)
            m.cells.set((m.frame.number, alias.asname or alias.name), value)


def _star(m: Machine, source: str) -> None:
    found = m.project.find(source, m.frame.module.path)
    if found is None:
        return
    for text in sorted(found.bindings):
        if not text.startswith("_"):
            m.cells.set((m.frame.number, text), Imported(m.frame.module, source, text))


def _delete(m: Machine, node: Any) -> None:
    for target in node.targets:
        if isinstance(target, syntax.Attribute):
            calls.delete_attribute(m, evaluate(m, target.value), target.attr, target)


def _scope(m: Machine, node: Any) -> None:
    m.frame.globals.update(node.names)


def _assert(m: Machine, node: Any) -> None:
    evaluate(m, node.test)


@cache
def _handlers() -> dict[type, Callable[[Machine, Any], None]]:
    # Not at import: control flow runs statements, and statements are control flow.
    return {
        syntax.Assign: _assign,
        syntax.AnnAssign: _annotated,
        syntax.AugAssign: _augmented,
        syntax.Expr: _expression,
        syntax.Return: _return,
        syntax.Raise: _raise,
        syntax.Break: _break,
        syntax.Continue: _continue,
        syntax.If: control.if_,
        syntax.For: control.for_,
        syntax.AsyncFor: control.for_,
        syntax.While: control.while_,
        syntax.Try: control.try_,
        syntax.TryStar: control.try_,
        syntax.With: control.with_,
        syntax.AsyncWith: control.with_,
        syntax.FunctionDef: _function,
        syntax.AsyncFunctionDef: _function,
        syntax.ClassDef: _class,
        syntax.Import: _import,
        syntax.ImportFrom: _import_from,
        syntax.Delete: _delete,
        syntax.Global: _scope,
        syntax.Nonlocal: _scope,
        syntax.Match: control.match_,
        syntax.Assert: _assert,
    }
