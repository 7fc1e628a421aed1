"""Assignments to attributes, and values that nobody takes: what they do to training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tcstatic.program.paths import gradients, handing, lookup, parameters
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import HARMLESS
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    External,
    Function,
    Node,
    Object,
    Place,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import reach
from tcstatic.program.source import syntax

# Names of functions that may compute gradients or step.
_NOT_ASKED: Final = frozenset({"__init__", "forward"})
_GOES: Final = re.compile(r"backward|backprop|optimi[sz]e|train|step|fit", re.IGNORECASE)
# Methods that do nothing unless they are called.
_ACTIONS: Final = frozenset("step zero_grad backward eval train update unscale_ set_epoch".split())


def attribute(m: Machine, holder: Value, text: str, value: Value, at: syntax.expr) -> None:
    """One holder's attribute is assigned to."""
    if isinstance(holder, External):
        return
    owner = _model_of(holder)
    if not isinstance(holder, Object) and gradients.assigned(m, holder, text, value, at):
        return
    if isinstance(holder, Object) and holder.role == "model":
        _model_attribute(m, holder, text, value, at)
    m.emit(
        "call",
        at,
        values={"operation": "store", "attribute": text},
        receiver=holder,
        arguments=(value,),
    )
    if text == "requires_grad" and owner is not None:
        m.emit(
            "model.freeze",
            at,
            subjects={"model": (owner.number,)},
            values={"trainable": value.value if isinstance(value, Const) else None},
        )
    m.set_attribute(holder, text, value)
    handing.tell(m, holder, (value,))


def owner_of_parameter(value: Value) -> Object | Unknown | None:
    """The model (or optimizer) of which a value is one of the parameters."""
    inner = value
    while isinstance(inner, Node) and inner.op in ("item", "list", "filter") and inner.inputs:
        inner = inner.inputs[0]
        if isinstance(inner, Node) and inner.op in ("parameters", "named_parameters"):
            subject = inner.subject
            return subject if isinstance(subject, Object | Unknown) else None
    return None


def _model_of(value: Value) -> Object | Unknown | None:
    """The model that has a parameter, be it one of all, or asked for by its name."""
    if isinstance(value, Node) and value.op == "parameter" and value.subject is not None:
        return value.subject
    return owner_of_parameter(value)


def in_place(
    m: Machine,
    receiver: Value,
    text: str,
    arguments: tuple[Value, ...],
    keywords: Mapping[str, Value],
    at: syntax.expr,
) -> None:
    """A method that changes a tensor: a gradient is written, a parameter frozen."""
    gradients.in_place(m, receiver, text, arguments, keywords, at)
    if text in ("requires_grad_", "detach_"):
        _frozen(m, receiver, text, arguments, keywords, at)


def _frozen(
    m: Machine,
    holder: Value,
    method: str,
    arguments: tuple[Value, ...],
    keywords: Mapping[str, Value],
    at: syntax.expr,
) -> None:
    """``p.requires_grad_(False)`` and ``p.detach_()`` of a model's parameter."""
    owner = _model_of(holder)
    if owner is None:
        return
    given = arguments[0] if arguments else keywords.get("requires_grad", Const(True))
    told = given.value if isinstance(given, Const) else None
    trainable = False if method == "detach_" else told
    about = {"model": (owner.number,)}
    m.emit("model.freeze", at, subjects=about, values={"trainable": trainable})


def _own_parameter(m: Machine, layer: Object, text: str, at: syntax.expr) -> None:
    """A layer gets a new weight or bias: once it has both, none of its parameters is the old."""
    key = (layer.number, "#replaced")
    known = m.cells.get(key)
    names = {text} | (set(known.value) if isinstance(known, Const) else set())
    bias = layer.keywords.get("bias")
    whole = {"weight"} if isinstance(bias, Const) and not bias.value else {"weight", "bias"}
    if not whole <= names:
        m.cells.set(key, Const(frozenset(names)))
        return
    m.cells.set(key, None)
    parameters.replace_parameters(m, layer)
    m.emit("model.mutate", at, subjects={"model": (layer.number,)}, values={"attribute": text})


def _model_attribute(m: Machine, holder: Object, text: str, value: Value, at: syntax.expr) -> None:
    if isinstance(value, Node) and value.op == "parameter" and value.subject is None:
        value.subject = holder
        own = Const(frozenset({parameters.token(m, holder)}))
        value.keywords = {**value.keywords, "#tokens": own}
    if text in ("weight", "bias") and isinstance(holder.type, str):
        if isinstance(value, Node) and value.op == "parameter":
            _own_parameter(m, holder, text, at)
        return
    before = m.attribute(holder, text)
    if before is None and isinstance(holder.type, str):
        _foreign_part(m, holder, text, value, at)
    if before is None or m.frame.name.endswith("__init__"):
        return
    replaced = [o for o in options(before, 4) if isinstance(o, Object) and o.role == "model"]
    if replaced and value not in replaced:
        dead = frozenset().union(*(parameters.tokens_of_model(m, one) for one in replaced))
        kept = parameters.tokens_of_model(m, value) if isinstance(value, Object) else frozenset()
        known = m.cells.get((0, "#dead"))
        earlier = known.value if isinstance(known, Const) else frozenset()
        m.cells.set((0, "#dead"), Const(earlier | (dead - kept)))
        m.emit(
            "model.mutate",
            at,
            subjects={"model": (holder.number, *(one.number for one in replaced))},
            values={"attribute": text, "#asked": _asked(m, at)},
        )


def _asked(m: Machine, at: syntax.expr) -> tuple[tuple[int, Place], ...]:
    """Where a model is changed, and where its own methods were called that do so, each with the
    number of the function at work."""
    found = [(m.frame.number, m.place(at))]
    for frame, around in zip(reversed(m.frames), reversed(m.frames[:-1]), strict=False):
        owner, method = frame.owner_self, frame.name.rpartition(".")[2]
        own = isinstance(owner, Object) and owner.role == "model" and method not in _NOT_ASKED
        if not own or frame.at is None:
            break
        found.append((around.number, frame.at))
    return tuple(found)


def _foreign_part(m: Machine, holder: Object, text: str, value: Value, at: syntax.expr) -> None:
    """A part of a library's model is replaced: its optimizers hold the old part's parameters."""
    known = isinstance(value, Object) and value.role == "model" and holder.type_name.islower()
    old = (holder.number, -(1 + len(holder.attributes)))
    told = False
    for one in m.objects.values():
        given = one.arguments[:1] if one.role == "optimizer" and known else ()
        held = m.attribute(one, "#tokens")
        whole = any(isinstance(v, Node) and v.op == "parameters" for v in given)
        if whole and isinstance(held, Const) and parameters.token(m, holder) in held.value:
            m.set_attribute(one, "#tokens", Const(held.value | {old}))
            told = True
    if told:
        dead = m.cells.get((0, "#dead"))
        earlier = dead.value if isinstance(dead, Const) else frozenset()
        m.cells.set((0, "#dead"), Const(earlier | {old}))
        about = {"model": (holder.number,)}
        m.emit("model.mutate", at, subjects=about, values={"attribute": text})


def augmented(m: Machine, node: Any, before: Value, made: Node) -> None:
    """``x += y`` for the rules that look at what is summed, and of a gradient by another name."""
    if isinstance(node.target, syntax.Name):
        gradients.augmented(m, before, made, node.target)
    m.emit(
        "call",
        node.target,
        values={"operation": "augmented", "operator": made.op},
        receiver=before,
        arguments=made.inputs[1:],
        node=made,
    )


def dropped(m: Machine, node: syntax.expr, value: Value) -> None:
    """A value that nobody takes: a method that was not called, a region without ``with``."""
    if isinstance(node, syntax.Attribute):
        _not_called(m, node, value)
        return
    if not isinstance(node, syntax.Call):
        return
    if isinstance(value, Object) and value.role == "region":
        path = value.type if isinstance(value.type, str) else ""
        if path.endswith("set_grad_enabled"):
            mode = value.arguments[0] if value.arguments else value.keywords.get("mode")
            known = isinstance(mode, Const) and isinstance(mode.value, bool)
            m.cells.set((0, "grad"), mode if known else Unknown("mode"))
            m.emit(
                "call", node, values={"operation": "set_grad_enabled"}, arguments=value.arguments
            )
        else:
            m.emit("call", node, values={"operation": "region-dropped", "region": path})
    elif isinstance(value, Node):
        m.emit("call", node, values={"operation": "dropped", "of": value.op}, node=value)
        if m.loops and _may_go_backward(m, value):
            values = {"operation": "escape", "any_owner": True}
            every = frozenset(o.number for o in m.objects.values() if o.role == "optimizer")
            m.emit("call", node, wild=True, maybe=every, values=values)


def _may_go_backward(m: Machine, value: Node) -> bool:
    """Whether a call of code that is not known, for its effect alone, is given a loss."""
    name = value.op.removeprefix("method:")
    foreign = "." in name and name.partition(".")[0] not in HARMLESS
    if not (value.op == "call" or foreign or _GOES.search(name)):
        return False
    return any(isinstance(one, Node) and reach(m, one).forwards for one in value.inputs)


def _not_called(m: Machine, node: syntax.Attribute, value: Value) -> None:
    if node.attr not in _ACTIONS:
        return
    receiver = value.receiver if isinstance(value, Bound) else None
    if receiver is None:
        from tcstatic.program.paths.expressions import evaluate

        m.quiet += 1
        receiver = evaluate(m, node.value)
        m.quiet -= 1
    methods = [one for one in options(value) if not isinstance(one, Const)]
    known = all(isinstance(one, Bound | Unknown | Node | Function) for one in methods)
    holders = options(receiver)
    if methods and known and not any(isinstance(one, External) for one in holders):
        bound = any(isinstance(one, Bound) for one in methods)
        if bound or not any(_has_property(m, one, node.attr) for one in holders):
            m.emit(
                "call",
                node,
                values={"operation": "not-called", "method": node.attr},
                receiver=receiver,
            )


def _has_property(m: Machine, holder: Value, text: str) -> bool:
    """Whether the class of an object has something of that name."""
    return (
        isinstance(holder, Object)
        and isinstance(holder.type, Class)
        and lookup.class_attribute(m, holder.type, text) is not None
    )
