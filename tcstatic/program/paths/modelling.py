"""Methods of models."""

from __future__ import annotations

from collections.abc import Mapping

from tcstatic.program.paths import (
    forwards,
    gradients,
    lookup,
    methods,
    parameters,
)
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import (
    Const,
    Function,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
Receiver = Object | Unknown | Node


def model(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    subjects = {"model": numbers}
    whole: Value = group[0] if len(group) == 1 else Phi(list(group))
    if text in ("parameters", "named_parameters"):
        return methods.parameters_of(m, group, text, at)
    if text in ("forward", "__call__"):
        return _direct(m, group, text, arguments, keywords, at)
    if text == "load_state_dict":
        return _load(m, group, subjects, arguments, keywords, at)
    if text == "state_dict":
        return _state(m, group, subjects, at)
    if text == "step" and not isinstance(group[0], Object):
        return None
    if _changes(m, group, whole, text, arguments, keywords, at):
        return whole
    return m.node(f"method:{text}", (*group, *arguments), at, keywords=dict(keywords))


def _changes(
    m: Machine,
    group: tuple[Receiver, ...],
    whole: Value,
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> bool:
    """Methods that change a model and hand it back; whether this is one of them."""
    subjects = {"model": tuple(one.number for one in group)}
    if text in ("train", "eval"):
        mode = arguments[0] if arguments else keywords.get("mode", Const(True))
        known = mode.value if isinstance(mode, Const) and isinstance(mode.value, bool) else None
        value = False if text == "eval" else known
        for one in group:
            forwards.set_mode(m, one, value)
        kind = "model.eval" if value is False else "model.train"
        m.emit(kind, at, subjects=subjects, values={"training": value}, arguments=arguments)
    elif text == "zero_grad":
        tokens = parameters.tokens_of_model(m, whole)
        m.emit(
            "optimizer.zero_grad",
            at,
            subjects={"optimizer": parameters.owners(m, tokens)},
            values={"#tokens": tokens, "by_model": True},
            assumed=not isinstance(group[0], Object),
        )
    elif text in ("append", "add_module", "register_module", "extend", "insert") and arguments:
        for one in group:
            _grow(m, one, text, arguments)
    elif text == "requires_grad_":
        m.emit("model.freeze", at, subjects=subjects, arguments=arguments)
    elif text == "apply" and any(_writes_gradients(one) for one in arguments):
        gradients.written_somewhere(m, at)
    return text in methods.SAME or text in ("append", "add_module", "extend", "insert", "zero_grad")


def _writes_gradients(value: Value) -> bool:
    return isinstance(value, Function) and gradients.mentioned(value.node)


def _state(
    m: Machine, group: tuple[Receiver, ...], subjects: dict[str, tuple[int, ...]], at: syntax.expr
) -> Value:
    made = m.node("state_dict", tuple(group), at)
    values = {"operation": "state_dict"}
    m.emit("call", at, values=values, subjects=subjects, node=made, result=made)
    return made


def _direct(
    m: Machine,
    group: tuple[Receiver, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    one = group[0]
    if text == "forward":
        m.emit("call", at, values={"operation": "forward-called"}, receiver=one)
    if isinstance(one, Object):
        return forwards.forward(m, one, arguments, keywords, at)
    return methods.unknown_forward(m, one, arguments, keywords, at)


def _load(
    m: Machine,
    group: tuple[Receiver, ...],
    subjects: dict[str, tuple[int, ...]],
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    assign = keywords.get("assign")
    replaces = isinstance(assign, Const) and assign.value is True
    if replaces:
        for one in group:
            parameters.replace_parameters(m, one)
    m.emit(
        "model.load",
        at,
        subjects=subjects,
        values={"how": "assign" if replaces else "copy"},
        arguments=arguments,
        keywords=dict(keywords),
    )
    return m.node("method:load_state_dict", (), at)


def _grow(m: Machine, one: Receiver, text: str, arguments: tuple[Value, ...]) -> None:
    added = arguments[-1] if text in ("insert", "add_module", "register_module") else arguments[0]
    name = arguments[0]
    if text in ("add_module", "register_module") and isinstance(name, Const):
        m.set_attribute(one, str(name.value), added)
    before = m.attribute(one, "#added")
    held = Listing("list")
    known = lookup.items(m, before) if isinstance(before, Listing) else []
    lookup.fill(m, held, [*known, added], closed=True)
    m.set_attribute(one, "#added", held)
