"""Calls: whose they are, what they bind, what they give back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tcstatic.program.paths import forwards, functions, lookup
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Branch, happenings
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    External,
    Function,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
_GENERIC: Final = 3
# Methods of what is not known that are looked up before they are called.
_METHODS: Final = frozenset({"attr:zero_grad", "attr:step", "attr:backward"})


def call_expression(m: Machine, node: syntax.Call) -> Value:
    """What a call gives."""
    if m.recorder is None:
        return _call_expression(m, node)
    before = m.recorder.noise
    result = _call_expression(m, node)
    m.recorder.returned(m, node, result, before)
    return result


def _call_expression(m: Machine, node: syntax.Call) -> Value:
    from tcstatic.program.paths import expressions, methods

    func = node.func
    receiver: Value | None = None
    if isinstance(func, syntax.Attribute):
        if _is_super(func.value):
            return _super_call(m, node, func.attr)
        receiver = expressions.evaluate(m, func.value)
    else:
        callee = expressions.evaluate(m, func)
    arguments, keywords = _arguments(m, node)
    if isinstance(func, syntax.Attribute) and receiver is not None:
        group = methods.group_of(receiver)
        if group and lookup_is_library(m, group[0], func.attr):
            if m.recorder is not None:
                m.recorder.called(m, node, receiver, None, arguments, keywords)
            return methods.on_objects(m, group, func.attr, arguments, keywords, node)
        callee = lookup.attribute(m, receiver, func.attr, func)
        if m.recorder is not None:
            m.recorder.called(m, node, receiver, callee, arguments, keywords)
        if _is_value(callee) and not isinstance(receiver, Object):
            return methods.on_value(m, receiver, func.attr, callee, arguments, keywords, node)
    elif m.recorder is not None:
        m.recorder.called(m, node, None, callee, arguments, keywords)
    return invoke(m, callee, arguments, keywords, node)


def _is_value(callee: Value) -> bool:
    """Whether a method is that of a tensor, or of something unknown, whichever way was taken."""
    known = [one for one in options(callee, 6) if not isinstance(one, Const)]
    return bool(known) and all(isinstance(one, Unknown | Node) for one in known)


def lookup_is_library(m: Machine, receiver: Value, text: str) -> bool:
    """Whether a method of an object is one that its library's class gives."""
    if not isinstance(receiver, Object):
        return False
    if m.attribute(receiver, text) is not None:
        return False
    return not (
        isinstance(receiver.type, Class)
        and lookup.class_attribute(m, receiver.type, text) is not None
    )


def _arguments(m: Machine, node: syntax.Call) -> tuple[tuple[Value, ...], dict[str, Value]]:
    from tcstatic.program.paths.expressions import evaluate

    positional: list[Value] = []
    keywords: dict[str, Value] = {}
    for argument in node.args:
        value = evaluate(m, argument)
        if isinstance(argument, syntax.Starred):
            known = lookup.items(m, value) if isinstance(value, Listing) else []
            if isinstance(value, Listing) and not lookup.is_open(m, value):
                positional.extend(known)
            else:
                positional.append(m.node("starred", (value, *known), argument))
        else:
            positional.append(value)
    for keyword in node.keywords:
        value = evaluate(m, keyword.value)
        if keyword.arg is not None:
            keywords[keyword.arg] = value
        elif isinstance(value, Listing):
            for text in sorted(value.attributes):
                held = m.attribute(value, text)
                if text.startswith("['") and held is not None:
                    keywords[text[2:-2]] = held
        else:
            keywords["**"] = value
    return tuple(positional), keywords


def invoke(
    m: Machine, callee: Value, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """Call a value."""
    from tcstatic.program.paths import external, methods, objects

    if isinstance(callee, Function):
        return functions.call_function(m, callee, arguments, keywords, at)
    if isinstance(callee, Bound):
        if callee.method is not None:
            return _own_method(m, callee, callee.method, arguments, keywords, at)
        group = methods.group_of(callee.receiver)
        if group:
            return methods.on_objects(m, group, callee.name, arguments, keywords, at)
        return methods.on_value(m, callee.receiver, callee.name, callee, arguments, keywords, at)
    if isinstance(callee, Class):
        return objects.construct(m, callee, arguments, keywords, at)
    if isinstance(callee, External):
        return external.call(m, callee.path, arguments, keywords, at)
    if isinstance(callee, Object):
        return call_object(m, callee, arguments, keywords, at)
    if isinstance(callee, Phi):
        return _one_of(m, callee, arguments, keywords, at)
    if isinstance(callee, Node) and callee.op in _METHODS:
        receiver = callee.inputs[0]
        return methods.on_value(m, receiver, callee.op[5:], callee, arguments, keywords, at)
    return methods.unknown_call(m, callee, arguments, keywords, at)


def _own_method(
    m: Machine,
    callee: Bound,
    method: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """A method of a project's class; the step of an own optimizer is a step, whatever it does."""
    receiver = callee.receiver
    before = len(m.block.steps)
    result = functions.call_function(m, method, (receiver, *arguments), keywords, at)
    role = receiver.role if isinstance(receiver, Object) else ""
    if role == "optimizer" and callee.name in ("step", "zero_grad"):
        kind = f"optimizer.{callee.name}"
        told = any(one.kind == kind for one in happenings(Block(m.block.steps[before:])))
        if not told and callee.name == "step":
            m.emit(kind, at, subjects={"optimizer": (receiver.number,)}, receiver=receiver)
        elif not told:
            about = frozenset({receiver.number})
            m.emit("call", at, wild=True, maybe=about, values={"operation": "own zero_grad"})
    elif role == "scheduler" and callee.name == "step":
        held = m.attribute(receiver, "#optimizers")
        optimizers = held.value if isinstance(held, Const) else ()
        about_both = {"scheduler": (receiver.number,), "optimizer": optimizers}
        m.emit("scheduler.step", at, subjects=about_both, arguments=arguments, receiver=receiver)
    return result


def call_object(
    m: Machine, callee: Object, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """An instance is called."""
    from tcstatic.program.paths import methods

    if callee.role == "model":
        return forwards.forward(m, callee, arguments, keywords, at)
    if callee.role == "loss":
        return forwards.call_loss(m, callee, arguments, keywords, at)
    if callee.role == "region" and arguments:
        return arguments[0]
    if callee.role == "partial":
        target, *first = callee.arguments
        return invoke(m, target, (*first, *arguments), {**callee.keywords, **keywords}, at)
    if isinstance(callee.type, Class):
        for text in ("__call__", "forward"):
            method = lookup.class_attribute(m, callee.type, text)
            if isinstance(method, Function):
                return functions.call_function(m, method, (callee, *arguments), keywords, at)
    return methods.unknown_call(m, callee, arguments, keywords, at)


def _one_of(
    m: Machine, callee: Phi, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    known = [v for v in options(callee, 5) if not (isinstance(v, Const) and v.value is None)]
    if len(known) == 1:
        return invoke(m, known[0], arguments, keywords, at)
    key, birth = f"callee#{callee.number}", callee.number
    if callee.ways is not None and len(callee.ways[2]) == 2:
        key, birth, known = callee.ways[0], callee.ways[1], list(callee.ways[2])
    if len(known) > _GENERIC or not known:
        from tcstatic.program.paths import methods

        return methods.unknown_call(m, callee, arguments, keywords, at)
    results: list[Value] = []
    outcomes = []
    branch = Branch(key, birth, [], whose=True)
    for one in known:
        mark = m.cells.mark()
        with m.writing(Block()) as block:
            results.append(invoke(m, one, arguments, keywords, at))
        outcomes.append(m.cells.undo(mark))
        branch.alternatives.append(block)
        m.dead = False
    m.cells.merge(outcomes)
    if any(block.steps for block in branch.alternatives) and not m.quiet:
        m.block.steps.append(branch)
    return joined(results)


def _is_super(node: syntax.expr) -> bool:
    return (
        isinstance(node, syntax.Call)
        and isinstance(node.func, syntax.Name)
        and node.func.id == "super"
    )


def _super_call(m: Machine, node: syntax.Call, text: str) -> Value:
    from tcstatic.program.paths import methods

    arguments, keywords = _arguments(m, node)
    frame = m.frame
    receiver = frame.owner_self
    owner = frame.function.owner if frame.function is not None else None
    if receiver is None or owner is None:
        return methods.unknown_call(m, Unknown("super"), arguments, keywords, node)
    start = receiver.type if isinstance(receiver, Object) else owner
    line = list(lookup.ancestry(start)) if isinstance(start, Class) else []
    behind = line[line.index(owner) + 1 :] if owner in line else list(lookup.ancestry(owner))[1:]
    for one in behind:
        if isinstance(one, Class) and isinstance(one.namespace.get(text), Function):
            method = one.namespace[text]
            assert isinstance(method, Function)
            return functions.call_function(m, method, (receiver, *arguments), keywords, node)
    if text == "__init__" or not isinstance(receiver, Object):
        return Const(None)
    return methods.on_objects(m, [receiver], text, arguments, keywords, node, own=False)


def role_of_value(m: Machine, value: Value) -> str:
    """What a value is to training: known for objects, guessed from names for unknown ones."""
    from tcstatic.program.paths import guesses

    if isinstance(value, Object):
        return value.role
    return guesses.role(value)


def set_attribute(m: Machine, holder: Value, text: str, value: Value, at: syntax.expr) -> None:
    """``holder.text = value``."""
    from tcstatic.program.paths import stores

    for one in options(holder, 4):
        stores.attribute(m, one, text, value, at)


def set_item(m: Machine, holder: Value, index: Value | None, value: Value, at: syntax.expr) -> None:
    """``holder[index] = value``."""
    from tcstatic.program.paths import gradients

    for one in options(holder, 4):
        if isinstance(one, Listing) and index is not None:
            lookup.put(m, one, index, value)
        elif isinstance(index, Const) and not isinstance(one, External):
            m.set_attribute(one, f"[{index.value!r}]", value)
        if not isinstance(one, Listing) and gradients.holders(m, one):
            gradients.written_somewhere(m, at)
        m.emit("call", at, values={"operation": "set-item"}, receiver=one, arguments=(value,))


def delete_attribute(m: Machine, holder: Value, text: str, at: syntax.expr) -> None:
    """``del holder.text``."""
    from tcstatic.program.paths import gradients

    for one in options(holder, 4):
        if text == "grad" and not isinstance(one, Object):
            gradients.assigned(m, one, text, Const(None), at)
        m.set_attribute(one, text, None)


def augmented(m: Machine, node: Any, before: Value, made: Node) -> None:
    """``target += value``."""
    from tcstatic.program.paths import stores

    stores.augmented(m, node, before, made)


def dropped(m: Machine, node: syntax.expr, value: Value) -> None:
    """An expression stands as a statement: nobody takes its value."""
    from tcstatic.program.paths import stores

    stores.dropped(m, node, value)
