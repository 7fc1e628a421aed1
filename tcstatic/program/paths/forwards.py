"""Models and losses at work: what a call of one gives."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.paths import functions, lookup, parameters
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import (
    CONTAINERS,
    LOSSES,
    WRAPPERS,
    canonical,
)
from tcstatic.program.paths.values import (
    Class,
    Const,
    Function,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    options,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]


def forward(
    m: Machine, model: Object, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """A model is called: its output, made of its inputs by what its ``forward`` does."""
    inner = _output(m, model, arguments, keywords, at)
    tokens = Const(parameters.tokens_of_model(m, model))
    extra: dict[str, Value] = {"#tokens": tokens}
    if m.grad_enabled() is False:
        extra["#grad"] = Const(False)
        extra["#off"] = Const(m.grad_off_place())
    made = m.node("forward", (inner, *arguments), at, keywords={**keywords, **extra}, subject=model)
    if not _inside_forward(m):
        m.emit(
            "model.forward",
            at,
            subjects={"model": (model.number,)},
            values={"type": model.type_name, "training": mode(m, model)},
            node=made,
            arguments=arguments,
            keywords=dict(keywords),
            result=made,
        )
    return made


def _inside_forward(m: Machine) -> bool:
    return any(frame.name.endswith(".forward") or frame.name == "#forward" for frame in m.frames)


def mode(m: Machine, model: Object) -> bool | None:
    """Whether a model is in training mode, as far as is known."""
    held = m.cells.get((model.number, "#training"))
    if held is None:
        return True if model.place is not None else None
    return held.value if isinstance(held, Const) else None


def set_mode(m: Machine, model: Value, value: bool | None) -> None:
    """Switch a model and all that is in it."""
    held = Const(value) if value is not None else Unknown("mode")
    for one in parameters.tree(m, model) if isinstance(model, Object) else (model,):
        m.cells.set((one.number, "#training"), held)


def _output(
    m: Machine, model: Object, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    if isinstance(model.type, Class):
        method = lookup.class_attribute(m, model.type, "forward")
        if isinstance(method, Function):
            return _template(m, model, method, arguments, keywords, at)
        return m.node("call", arguments, at)
    if model.type_name in CONTAINERS and model.type_name == "Sequential":
        return _sequential(m, model, arguments, at)
    if model.type_name in WRAPPERS:
        inner = m.attribute(model, "module")
        if isinstance(inner, Object):
            return _output(m, inner, arguments, keywords, at)
    return m.node(canonical(model.type), arguments, at, subject=model)


def _template(
    m: Machine,
    model: Object,
    method: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """What ``forward`` returns; run once for each mode, with and without gradients, for most of it
    does not depend on what it is given."""
    key = (model.number, (mode(m, model), m.grad_enabled()), parameters.version(m, model))
    known = m.templates.get(key)
    if known is None:
        m.templates[key] = Unknown("recursion")
        known = functions.call_function(m, method, (model, *arguments), keywords, at)
        m.templates[key] = known
    return known


def _sequential(m: Machine, model: Object, arguments: tuple[Value, ...], at: syntax.expr) -> Value:
    value: Value = arguments[0] if arguments else Const(None)
    stages: list[Value] = []
    for argument in (*model.arguments, *_added(m, model)):
        for option in options(argument, 4):
            if isinstance(option, Listing):
                stages.extend(
                    last if not isinstance(last, Listing) else (lookup.items(m, last) or [last])[-1]
                    for last in lookup.items(m, option)
                )
            else:
                stages.append(option)
    for stage in stages:
        if isinstance(stage, Object) and stage.role in ("model", "loss"):
            inner = _output(m, stage, (value,), {}, at)
            if isinstance(inner, Node) and inner.subject is stage:
                inner.place = stage.place  # no call of it is written
            made = Node(
                "forward",
                (inner, value),
                {"#tokens": Const(parameters.tokens_of_model(m, stage))},
                stage.place,
                stage,
                m.regions,
            )
            value = made
        else:
            value = m.node("call", (value, stage), at)
    return value


def _added(m: Machine, model: Object) -> list[Value]:
    added = m.attribute(model, "#added")
    return list(options(added)) if added is not None else []


def call_loss(
    m: Machine, loss: Object, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """A loss module is called."""
    if isinstance(loss.type, Class):
        method = lookup.class_attribute(m, loss.type, "forward")
        if isinstance(method, Function):
            return functions.call_function(m, method, (loss, *arguments), keywords, at)
    path = loss.type if isinstance(loss.type, str) else loss.type_name
    return loss_value(m, canonical(path), arguments, {**loss.keywords, **keywords}, at, loss)


def loss_value(
    m: Machine,
    operation: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
    loss: Object | None = None,
) -> Node:
    """A loss of known meaning is computed."""
    made = m.node(operation, arguments, at, keywords=dict(keywords), subject=loss)
    m.emit(
        "loss.forward",
        at,
        values={"operation": operation},
        node=made,
        arguments=arguments,
        keywords=dict(keywords),
        result=made,
        receiver=loss,
    )
    return made


def is_loss(path: str) -> bool:
    """Whether a library's function computes a loss of known meaning."""
    return canonical(path) in LOSSES
