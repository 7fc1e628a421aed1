"""Methods of what training is made of: optimizers, schedulers, scalers, models, losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tcstatic.program.paths import guesses, lookup, objects, parameters, stores
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import method_operation
from tcstatic.program.paths.values import (
    Bound,
    Const,
    Function,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import Reach, objects_in, reach
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
Receiver = Object | Unknown | Node
_SAME: Final = frozenset(
    """to cuda cpu half float double bfloat16 train eval requires_grad_ share_memory type apply
    compile""".split()
)
_TRAINED: Final = frozenset("optimizer model scheduler scaler loader sampler engine".split())


def group_of(value: Value) -> list[Object]:
    """The objects that a receiver may be, all of one role; empty where that is not so."""
    found = [v for v in options(value, 5) if not (isinstance(v, Const) and v.value is None)]
    known = [v for v in found if isinstance(v, Object)]
    if not known or len(known) != len(found):
        return []
    return known if len({one.role for one in known}) == 1 and known[0].role else []


def on_objects(
    m: Machine,
    group: list[Object],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
    own: bool = True,
) -> Value:
    """A method that a library's class gives is called on known objects."""
    role = group[0].role
    numbers = tuple(one.number for one in group)
    if role == "?":
        role = guesses.role(group[0])
    handler = _BY_ROLE.get(role)
    if handler is not None:
        result = handler(m, tuple(group), numbers, text, arguments, keywords, at)
        if result is not None:
            return result
    if own and role in ("", "?", "dataset"):
        escape(m, arguments, at)
    made = m.node(f"method:{text}", (*group, *arguments), at, keywords=dict(keywords))
    return made


def on_value(
    m: Machine,
    receiver: Value,
    text: str,
    callee: Value,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """A method of something that is no known object: a tensor, a listing, something unknown."""
    if isinstance(receiver, Listing):
        return _on_listing(m, receiver, text, arguments, at)
    if text == "backward" and not isinstance(receiver, Phi):
        engine = guesses.role(receiver) == "engine" and arguments
        return backward(m, arguments[0] if engine else receiver, at, keywords)
    if isinstance(receiver, Node) and receiver.op == "attr:grad" and text.endswith("_"):
        stores.gradient_written(m, receiver.inputs[0], text, arguments, at)
    result = _by_role(m, receiver, text, arguments, keywords, at)
    if result is not None:
        return result
    if text == "backward":
        return backward(m, receiver, at, keywords)
    _note_site(m, text, at, resolved=guesses.role(receiver) == "environment")
    if isinstance(receiver, Unknown) and text in _SAME:
        return receiver
    if text in ("parameters", "named_parameters"):
        return _parameters(m, (receiver,), text, at)
    if _may_train(m, arguments, keywords):
        escape(m, (*arguments, *keywords.values()), at)
    inputs = (receiver, *arguments)
    return m.node(method_operation(text), inputs, at, keywords=dict(keywords))


def _by_role(
    m: Machine,
    receiver: Value,
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    """What a method does to a receiver whose role is guessed, or known of one of its options."""
    group: list[Receiver] = [o for o in options(receiver, 5) if isinstance(o, Object)]
    role = group[0].role if group and isinstance(group[0], Object) else ""
    if isinstance(receiver, Unknown | Node):
        group, role = [receiver], _role_by_use(receiver, text)
    if role not in _BY_ROLE:
        return None
    numbers = tuple(one.number for one in group)
    return _BY_ROLE[role](m, tuple(group), numbers, text, arguments, keywords, at)


def _role_by_use(receiver: Value, text: str) -> str:
    role = guesses.role(receiver)
    if role:
        return role
    if text in ("zero_grad", "add_param_group"):
        return "optimizer"
    if text in ("eval", "load_state_dict", "named_parameters") and isinstance(receiver, Unknown):
        return "model"
    return "scaler" if text == "unscale_" else ""


def _may_train(m: Machine, arguments: tuple[Value, ...], keywords: Keywords) -> bool:
    return any(
        (one.role if isinstance(one, Object) else guesses.role(one)) in _TRAINED
        for one in objects_in(m, (*arguments, *keywords.values()))
    )


def unknown_call(
    m: Machine, callee: Value, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """Something that the source does not tell is called."""
    role = guesses.role(callee)
    if role == "model" and isinstance(callee, Unknown | Node):
        return _unknown_forward(m, callee, arguments, keywords, at)
    if role == "loss":
        return m.node("call:loss", (*arguments, callee), at, keywords=dict(keywords))
    escape(m, (*arguments, *keywords.values()), at)
    if isinstance(callee, Unknown) and "zero_grad" in callee.name:
        stores.any_gradient(m, at)
    return m.node("call", (callee, *arguments), at, keywords=dict(keywords))


def _unknown_forward(
    m: Machine,
    model: Unknown | Node,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    extra: dict[str, Value] = {"#tokens": Const(frozenset({parameters.token(m, model)}))}
    if m.grad_enabled() is False:
        extra["#grad"] = Const(False)
    made = m.node("forward", arguments, at, keywords={**keywords, **extra})
    made.subject = model if isinstance(model, Unknown) else None
    held = m.cells.get((model.number, "#training"))
    m.emit(
        "model.forward",
        at,
        subjects={"model": (model.number,)},
        values={"training": held.value if isinstance(held, Const) else None, "type": "model"},
        assumed=True,
        node=made,
        arguments=arguments,
        result=made,
    )
    return made


def escape(m: Machine, values: tuple[Value, ...], at: syntax.expr) -> None:
    """Objects are handed to code that is not known: anything may happen to them there."""
    numbers = set(parameters.owners(m, parameters.held(m, values)[0]))
    waiting = [(one, 0) for one in objects_in(m, values)]
    while waiting:
        one, depth = waiting.pop()
        if one.number in numbers:
            continue
        role = one.role if isinstance(one, Object) else guesses.role(one)
        if role in _TRAINED:
            numbers.add(one.number)
        if role == "model":
            objects.set_mode(m, one, None)
            m.cells.set((one.number, "#tainted"), Const(True))
        if isinstance(one, Object) and depth < 2 and role not in ("loader", "dataset"):
            held = tuple(
                value
                for text in sorted(one.attributes)
                if (value := m.attribute(one, text)) is not None and not text.startswith("#")
            )
            waiting.extend((inner, depth + 1) for inner in objects_in(m, held))
    if numbers:
        m.emit("call", at, wild=True, maybe=frozenset(numbers), values={"operation": "escape"})


def backward(m: Machine, value: Value, at: syntax.expr, keywords: Keywords | None = None) -> Value:
    """A backward starts at a value."""
    reached = reach(m, value)
    _note_site(m, "backward", at, resolved=_is_computed(value, reached))
    m.emit(
        "loss.backward",
        at,
        subjects={"optimizer": parameters.owners(m, reached.tokens)},
        values={"#reach": reached, "scaled": _is_scaled(value)},
        arguments=(value,),
        keywords=dict(keywords or {}),
    )
    return Const(None)


def _is_computed(value: Value, reached: Reach) -> bool:
    """Whether what a backward starts at is known to be computed, not only to be called so."""
    if reached.forwards or reached.tokens:
        return True
    return any(
        isinstance(one, Node) and not one.op.startswith(("call", "attr:", "item"))
        for one in options(value)
    )


def _is_scaled(value: Value) -> bool:
    return any(isinstance(one, Node) and one.op == "scale" for one in options(value))


def _note_site(m: Machine, text: str, at: syntax.expr, *, resolved: bool) -> None:
    kind = {"backward": "loss.backward", "step": "optimizer.step"}.get(text)
    if kind is None:
        return
    module = m.frame.module
    key = (module.file, at.end_lineno or 0, at.end_col_offset or 0)
    before = m.sites.get(key)
    m.sites[key] = (kind, resolved or bool(before and before[1]))


def _parameters(m: Machine, group: tuple[Value, ...], text: str, at: syntax.expr) -> Node:
    found = frozenset().union(*(parameters.tokens_of_model(m, one) for one in group))
    subject = group[0] if isinstance(group[0], Object | Unknown) else None
    made = m.node(
        "named_parameters" if text.startswith("named") else "parameters",
        tuple(group),
        at,
        keywords={"#tokens": Const(found)},
        subject=subject,
    )
    if made.op == "named_parameters":
        inner = m.node("parameters", tuple(group), at, keywords=dict(made.keywords))
        inner.subject = subject
        made.inputs = (inner,)
    return made


def _on_listing(
    m: Machine, receiver: Listing, text: str, arguments: tuple[Value, ...], at: syntax.expr
) -> Value:
    if text in ("append", "add", "appendleft", "insert") and arguments:
        lookup.add(m, receiver, arguments[-1])
        return Const(None)
    if text in ("extend", "update") and arguments:
        _take_over(m, receiver, arguments[0], at)
        return Const(None)
    if text in ("get", "pop", "setdefault") and arguments:
        return lookup.item(m, receiver, arguments[0], at)
    if text == "values" or text == "copy":
        made = Listing("list" if text == "values" else receiver.kind, m.place(at))
        if text == "copy":
            lookup.update(m, made, receiver)
        else:
            lookup.fill(m, made, lookup.items(m, receiver), closed=False)
        return made
    if text == "items":
        return m.node("items", (receiver,), at)
    return m.node(f"method:{text}", (receiver, *arguments), at)


def _take_over(m: Machine, receiver: Listing, other: Value, at: syntax.expr) -> None:
    if not isinstance(other, Listing):
        lookup.add(m, receiver, m.node("item", (other,), at))
    elif receiver.kind == "dict":
        lookup.update(m, receiver, other)
    else:
        for item in lookup.items(m, other):
            lookup.add(m, receiver, item)


def _optimizer(
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
        _note_site(m, "step", at, resolved=True)
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
        return m.node("method:step", (), at)
    if text == "zero_grad":
        m.emit("optimizer.zero_grad", at, subjects=subjects, assumed=assumed, receiver=group[0])
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
        return backward(m, arguments[0], at)
    if text in ("state_dict", "param_groups", "state", "defaults"):
        return m.node(text, tuple(group), at)
    return None


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
    held = m.cells.get((number, parameters.VERSION))
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


def _scheduler(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    if text == "step":
        _note_site(m, "step", at, resolved=True)
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


def _scaler(
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
        optimizers = tuple(one for one in known if guessed(one) in ("optimizer", ""))
        subjects["optimizer"] = tuple(one.number for one in optimizers)
        kind = "scaler.step" if text == "step" else "scaler.unscale"
        if text == "step":
            implicit = {**values, "implicit": True}
            m.emit("scaler.unscale", at, subjects=dict(subjects), assumed=assumed, values=implicit)
        m.emit(kind, at, subjects=dict(subjects), assumed=assumed, values=values)
        if text == "step":
            _note_site(m, "step", at, resolved=True)
            m.emit(
                "optimizer.step",
                at,
                subjects={"optimizer": subjects["optimizer"]},
                assumed=assumed,
                values={"by_scaler": True, **_membership(m, optimizers)},
                receiver=optimizers[0] if optimizers else None,
            )
        return Const(None)
    if text == "update":
        m.emit("scaler.update", at, subjects=subjects, assumed=assumed, values=values)
        return Const(None)
    return None


def guessed(value: Object | Unknown) -> str:
    """The role of an object, guessed where it is not known."""
    return value.role if isinstance(value, Object) else guesses.role(value)


def _model(
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
        return _parameters(m, group, text, at)
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
            objects.set_mode(m, one, value)
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
    return text in _SAME or text in ("append", "add_module", "extend", "insert", "zero_grad")


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
        return objects.forward(m, one, arguments, keywords, at)
    return _unknown_forward(m, one, arguments, keywords, at)


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


def _sampler(
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


def _loader(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    return None


def _engine(
    m: Machine,
    group: tuple[Receiver, ...],
    numbers: tuple[int, ...],
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    if text == "backward" and arguments:
        return backward(m, arguments[0], at)
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
        _note_site(m, "step", at, resolved=True)
        m.emit(
            "call", at, wild=True, maybe=frozenset(m.objects), values={"operation": "engine.step"}
        )
        return Const(None)
    return None


Handler = Callable[
    [
        Machine,
        tuple[Receiver, ...],
        tuple[int, ...],
        str,
        tuple[Value, ...],
        Keywords,
        syntax.expr,
    ],
    Value | None,
]
_BY_ROLE: Final[dict[str, Handler]] = {
    "optimizer": _optimizer,
    "scheduler": _scheduler,
    "scaler": _scaler,
    "model": _model,
    "sampler": _sampler,
    "loader": _loader,
    "engine": _engine,
}
