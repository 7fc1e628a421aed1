"""Methods of optimizers, schedulers, scalers, samplers and engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tcstatic.program.paths import lookup, methods, parameters
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import (
    Bound,
    Const,
    Function,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import VERSION, objects_in
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
Receiver = Object | Unknown | Node


def optimizer(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    assumed = not isinstance(group[0], Object)
    subjects = {"optimizer": numbers}
    if text == "step":
        methods.note_site(m, "step", at, resolved=True)
        closure = arguments[0] if arguments else keywords.get("closure")
        closed = _run_closure(m, closure, at)
        m.emit(
            "optimizer.step",
            at,
            subjects=subjects,
            assumed=assumed,
            values={"closure": closed, **_membership(m, group)},
            arguments=arguments,
            receiver=group[0],
        )
        _own_step(m, group, at)
        return m.node("method:step", (), at)
    if text == "zero_grad":
        about = {"optimizer": (*numbers, *_sharing(m, group))}
        m.emit("optimizer.zero_grad", at, subjects=about, assumed=assumed, receiver=group[0])
        return Const(None)
    if text == "add_param_group":
        for one in group:
            _add_group(m, one, arguments)
        m.emit("call", at, values={"operation": "add_param_group"}, subjects=subjects)
        return Const(None)
    if text == "load_state_dict":
        m.emit("optimizer.load", at, subjects=subjects, arguments=arguments)
        return Const(None)
    if text == "backward" and arguments:
        return methods.backward(m, arguments[0], at)
    if text in ("state_dict", "param_groups", "state", "defaults"):
        return m.node(text, tuple(group), at)
    return None


def _own_step(m: Machine, group: tuple[Receiver, ...], at: syntax.expr) -> None:
    """What is known by its name alone may be of a class of the project whose ``step`` clears the
    gradients as well, if there is such a class."""
    guessed = [one for one in group if not isinstance(one, Object)]
    if guessed and m.project.around(m.frame.module).steps_clear:
        maybe = frozenset(one.number for one in guessed)
        m.emit("call", at, wild=True, maybe=maybe, values={"operation": "own step"})


def _sharing(m: Machine, group: tuple[Receiver, ...]) -> tuple[int, ...]:
    """Other optimizers all of whose parameters these optimizers hold as well."""
    held = [m.attribute(one, "#tokens") for one in group]
    mine = frozenset().union(*(one.value for one in held if isinstance(one, Const)))
    found = []
    for number, one in m.objects.items():
        tokens, closed = m.attribute(one, "#tokens"), m.attribute(one, "#complete")
        if one.role != "optimizer" or one in group or not isinstance(tokens, Const):
            continue
        if tokens.value and tokens.value <= mine and isinstance(closed, Const) and closed.value:
            found.append(number)
    return tuple(found)


def _membership(m: Machine, group: tuple[Receiver, ...]) -> dict[str, Any]:
    """Which of the optimizer's parameters are still those of a model."""
    held: frozenset[Any] = frozenset()
    complete = True
    for one in group:
        tokens, closed = m.attribute(one, "#tokens"), m.attribute(one, "#complete")
        held |= tokens.value if isinstance(tokens, Const) else frozenset()
        complete = complete and isinstance(closed, Const) and bool(closed.value)
    if not held or not complete:
        return {}
    known = m.cells.get((0, "#dead"))
    dead = known.value if isinstance(known, Const) else frozenset()
    gone = frozenset(
        token for token in held if token in dead or _version_of(m, token[0]) != token[1]
    )
    return {
        "optimizer.parameters": held,
        "live.parameters": held - gone,
        "untracked": len(gone),
        "replaced": bool(gone),
    }


def _version_of(m: Machine, number: int) -> int:
    held = m.cells.get((number, VERSION))
    return held.value if isinstance(held, Const) else 0


def _run_closure(m: Machine, closure: Value | None, at: syntax.expr) -> bool:
    from tcstatic.program.paths import calls

    if isinstance(closure, Function | Bound):
        calls.invoke(m, closure, (), {}, at)
        return True
    return closure is not None


def _add_group(m: Machine, one: Receiver, arguments: tuple[Value, ...]) -> None:
    tokens, complete = parameters.held(m, arguments)
    before = m.attribute(one, "#tokens")
    known = before.value if isinstance(before, Const) else frozenset()
    m.set_attribute(one, "#tokens", Const(known | tokens))
    if not complete:
        m.set_attribute(one, "#complete", Const(False))


def scheduler(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    if text == "step":
        methods.note_site(m, "step", at, resolved=True)
        optimizers: tuple[int, ...] = ()
        for one in group:
            held = m.attribute(one, "#optimizers")
            if isinstance(held, Const):
                optimizers = (*optimizers, *held.value)
        m.emit(
            "scheduler.step",
            at,
            subjects={"scheduler": numbers, "optimizer": optimizers},
            assumed=not isinstance(group[0], Object),
            arguments=arguments,
            receiver=group[0],
        )
        return Const(None)
    return None


def scaler(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    subjects = {"scaler": numbers}
    assumed = not isinstance(group[0], Object)
    enabled = group[0].keywords.get("enabled") if isinstance(group[0], Object) else None
    values = {
        "enabled": enabled.value if isinstance(enabled, Const) else enabled is None or None,
        "switched_off": isinstance(enabled, Const) and enabled.value is False,
    }
    if text == "scale" and arguments:
        made = m.node("scale", arguments, at)
        m.emit("scaler.scale", at, subjects=subjects, assumed=assumed, node=made, values=values)
        return made
    if text in ("step", "unscale_") and arguments:
        known = objects_in(m, arguments[:1])
        optimizers: tuple[Receiver, ...] = tuple(
            one for one in known if methods.guessed(one) in ("optimizer", "")
        )
        # what a library's function gave may be one as well
        optimizers += tuple(one for one in options(arguments[0], 4) if isinstance(one, Node))
        assumed = assumed or not all(isinstance(one, Object) for one in optimizers)
        subjects["optimizer"] = tuple(one.number for one in optimizers)
        kind = "scaler.step" if text == "step" else "scaler.unscale"
        if text == "step":
            implicit = {**values, "implicit": True}
            m.emit("scaler.unscale", at, subjects=dict(subjects), assumed=assumed, values=implicit)
        m.emit(kind, at, subjects=dict(subjects), assumed=assumed, values=values)
        if text == "step":
            methods.note_site(m, "step", at, resolved=True)
            m.emit(
                "optimizer.step",
                at,
                subjects={"optimizer": subjects["optimizer"]},
                assumed=assumed,
                values={"by_scaler": True, **_membership(m, optimizers)},
                receiver=optimizers[0] if optimizers else None,
            )
            _own_step(m, optimizers, at)
        return Const(None)
    if text == "update":
        m.emit("scaler.update", at, subjects=subjects, assumed=assumed, values=values)
        return Const(None)
    return None


def sampler(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    if text == "set_epoch":
        m.emit("sampler.set_epoch", at, subjects={"sampler": numbers})
        return Const(None)
    return None


def loader(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    return None


def engine(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    if text == "backward" and arguments:
        return methods.backward(m, arguments[0], at)
    if text in ("prepare", "setup", "setup_dataloaders", "prepare_data_loader", "prepare_model"):
        for one in objects_in(m, arguments):
            m.cells.set((one.number, "#prepared"), Const(True))
        if len(arguments) == 1:
            return arguments[0]
        made = Listing("tuple", m.place(at))
        lookup.fill(m, made, list(arguments), closed=True)
        return made
    if text in ("clip_grad_norm_", "clip_grad_value_") and arguments:
        from tcstatic.program.paths import external

        return external.call(m, f"torch.nn.utils.{text}", arguments[:1], keywords, at)
    if text in ("unwrap_model", "gather", "gather_for_metrics", "reduce") and arguments:
        return arguments[0] if text == "unwrap_model" else m.node("gather", arguments, at)
    if text in ("accumulate", "no_sync", "autocast", "join_uneven_inputs"):
        return m.node(f"method:{text}", (*group, *arguments), at)
    if text == "step":
        methods.note_site(m, "step", at, resolved=True)
        m.emit(
            "call", at, wild=True, maybe=frozenset(m.objects), values={"operation": "engine.step"}
        )
        return Const(None)
    return None
