"""Methods of what training is made of: optimizers, schedulers, scalers, models, losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from tcstatic.program.paths import (
    forwards,
    gradients,
    guesses,
    handing,
    lookup,
    modelling,
    optimizing,
    parameters,
    stores,
)
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import method_operation
from tcstatic.program.paths.values import (
    Const,
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
SAME: Final = frozenset(
    """to cuda cpu half float double bfloat16 train eval requires_grad_ share_memory type apply
    compile""".split()
)


def group_of(value: Value) -> list[Object]:
    """The objects that a receiver may be, all of one role; empty where that is not so."""
    found = [v for v in options(value, 12) if not (isinstance(v, Const) and v.value is None)]
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
    handler = _by_roles().get(role)
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
    if text.endswith("_") or text == "fill":
        stores.in_place(m, receiver, text, arguments, keywords, at)
    result = _by_role(m, receiver, text, arguments, keywords, at)
    if result is not None:
        return result
    if text == "backward":
        return backward(m, receiver, at, keywords)
    note_site(m, text, at, resolved=_is_something_else(receiver))
    if isinstance(receiver, Unknown) and text in SAME:
        return receiver
    if text in ("parameters", "named_parameters"):
        return parameters_of(m, (receiver,), text, at)
    if text == "zero_grad":
        gradients.written_somewhere(m, at)  # of a base class that the source does not show
    given = (*arguments, *keywords.values())
    kept = handing.told(m, receiver)
    if kept or _may_train(m, given):
        # A callback that is told of a step does not do half of it: what scales losses also updates.
        escape(m, (*given, *kept), at, but="scaler")
        handing.tell(m, receiver, given)
    inputs = (receiver, *arguments)
    return m.node(method_operation(text), inputs, at, keywords=dict(keywords))


def _is_something_else(receiver: Value) -> bool:
    """Whether a receiver is known for something else: what a library's call gave (its dotted path
    is the operation), an instance of a class of the project's own, an environment by its name."""
    if isinstance(receiver, Node) and "." in receiver.op:
        return True
    own = isinstance(receiver, Object) and receiver.role == ""
    return own or guesses.role(receiver) == "environment"


def _by_role(
    m: Machine,
    receiver: Value,
    text: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value | None:
    """What a method does to a receiver whose role is guessed, or known of one of its options."""
    group: list[Receiver] = [o for o in options(receiver, 12) if isinstance(o, Object)]
    role = group[0].role if group and isinstance(group[0], Object) else ""
    if not group:
        guessed_of = [o for o in options(receiver, 12) if isinstance(o, Unknown | Node)]
        roles = {_role_by_use(m, one, text, at) for one in guessed_of}
        group, role = list(guessed_of), roles.pop() if len(roles) == 1 else ""
    if role not in _by_roles():
        return None
    numbers = tuple(one.number for one in group)
    return _by_roles()[role](m, tuple(group), numbers, text, arguments, keywords, at)


def _gives_parameters(m: Machine, at: syntax.expr) -> bool:
    """Whether what a method is called of is asked for its parameters somewhere, by the same name:
    an instance of a class that the source does not show is a model then."""
    held = at.func.value if isinstance(at, syntax.Call) and hasattr(at.func, "value") else None
    name = syntax.unparse(held) if held is not None else ""
    return bool(name) and f"{name}.parameters(" in m.frame.module.text.text


def _role_by_use(m: Machine, receiver: Value, text: str, at: syntax.expr) -> str:
    role = guesses.role(receiver)
    if role:
        return role
    if text == "step" and isinstance(receiver, Node) and isinstance(at, syntax.Call):
        # what a function gave that is not known, by the name that it was given
        name = syntax.unparse(at.func).rpartition(".")[0].rpartition(".")[2]
        role = guesses.role(Unknown("name", name))
        if role in ("optimizer", "scheduler"):
            return role
    if text == "zero_grad" and (handing.asked(m, (receiver,)) or _gives_parameters(m, at)):
        return "model"
    if text in ("zero_grad", "add_param_group"):
        return "optimizer"
    if text in ("eval", "load_state_dict", "named_parameters") and isinstance(receiver, Unknown):
        return "model"
    return "scaler" if text == "unscale_" else ""


def _may_train(m: Machine, given: tuple[Value, ...]) -> bool:
    trained = any(handing.role_of(one) in handing.TRAINED for one in objects_in(m, given))
    return trained or bool(handing.trainers(m, given))


def unknown_call(
    m: Machine, callee: Value, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """Something that the source does not tell is called."""
    role = guesses.role(callee)
    if role == "model" and isinstance(callee, Unknown | Node):
        return unknown_forward(m, callee, arguments, keywords, at)
    if role == "loss":
        return m.node("call:loss", (*arguments, callee), at, keywords=dict(keywords))
    handed = (callee, *arguments, *keywords.values()) if role else (*arguments, *keywords.values())
    escape(m, handed, at)
    if isinstance(callee, Unknown) and gradients.may_clear(callee.name):
        gradients.written_somewhere(m, at)
    return m.node("call", (callee, *arguments), at, keywords=dict(keywords))


def unknown_forward(
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


def escape(m: Machine, values: tuple[Value, ...], at: syntax.expr, but: str = "") -> None:
    """Objects are handed to code that is not known: anything may happen to them there. What has the
    role `but` is left alone where it is not handed over itself."""
    numbers = set(parameters.owners(m, parameters.held(m, values)[0])) | handing.asked(m, values)
    itself: set[int] = set()
    given = {one.number for one in objects_in(m, values)}
    for one in handing.objects_of(m, values):
        role = handing.role_of(one)
        if role == but and one.number not in given:
            continue
        if role in handing.TRAINED:
            itself.add(one.number)
        if role == "model":
            forwards.set_mode(m, one, None)
            m.cells.set((one.number, "#tainted"), Const(True))
    if numbers | itself:
        about = {"operation": "escape", "#itself": frozenset(itself)}
        m.emit("call", at, wild=True, maybe=frozenset(numbers | itself), values=about)


def backward(m: Machine, value: Value, at: syntax.expr, keywords: Keywords | None = None) -> Value:
    """A backward starts at a value."""
    reached = reach(m, value)
    note_site(m, "backward", at, resolved=_is_computed(value, reached))
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


def note_site(m: Machine, text: str, at: syntax.expr, *, resolved: bool) -> None:
    kind = {"backward": "loss.backward", "step": "optimizer.step"}.get(text)
    if kind is None:
        return
    module = m.frame.module
    key = (module.file, at.end_lineno or 0, at.end_col_offset or 0)
    before = m.sites.get(key)
    m.sites[key] = (kind, resolved or bool(before and before[1]))


def parameters_of(m: Machine, group: tuple[Value, ...], text: str, at: syntax.expr) -> Node:
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


def guessed(value: Object | Unknown) -> str:
    """The role of an object, guessed where it is not known."""
    return value.role if isinstance(value, Object) else guesses.role(value)


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


@cache
def _by_roles() -> dict[str, Handler]:
    # Not at import: the modules that hold them need this one.
    return {
        "optimizer": optimizing.optimizer,
        "scheduler": optimizing.scheduler,
        "scaler": optimizing.scaler,
        "model": modelling.model,
        "sampler": optimizing.sampler,
        "loader": optimizing.loader,
        "engine": optimizing.engine,
    }
