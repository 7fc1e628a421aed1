"""Gradients that a program clears, scales or writes: in place, through views, in lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tcstatic.program.paths import parameters
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.values import Const, Node, Unknown, Value, options
from tcstatic.program.paths.walking import listed, walked
from tcstatic.program.source import syntax

_LIMIT: Final = 200
_CLEARING: Final = re.compile(r"zero_?grad|(^|_)(clear|reset|zero)(_?grads?|_?gradients?)?$", re.I)
CLEARS: Final = "clear"
SCALES: Final = "grad.scale"
WRITES: Final = "grad.write"
# What gives the same memory, or a part of it, and listings of gradients.
_VIEWS: Final = frozenset(
    """attr:data detach detach_ requires_grad_ view view_as reshape flatten squeeze unsqueeze
    contiguous numpy item list tuple filter iter reversed""".split()
)
_PRODUCTS: Final = frozenset({"*", "mul", "multiply"})
_SCALED: Final = frozenset("* / mul multiply div divide true_divide neg".split())
# A factor of these may be nought for all that the source tells.
_DECIDED: Final = frozenset(
    """== != < <= > >= not and or ~ ne eq gt ge lt le zeros zeros_like new_zeros full
    full_like""".split()
)
_NAMES: Final = {"zeros": "zero", "constant": "fill"}  # as torch.nn.init has them


def holders(m: Machine, value: Value) -> list[Value]:
    """The tensors whose gradients a value is, is a view of, or lists."""

    def onward(one: Value) -> Iterable[Value]:
        if isinstance(one, Node) and one.op in _VIEWS:
            return one.inputs[:1]
        return listed(m, one)

    found: list[Value] = []
    for one in walked((value,), onward, _LIMIT):
        if isinstance(one, Unknown) and (one.name, one.origin) == ("grad", "attribute"):
            found.append(one)
        elif isinstance(one, Node) and one.op == "attr:grad":
            found.append(one.inputs[0])
    return found


def assigned(m: Machine, holder: Value, text: str, value: Value, at: syntax.expr) -> bool:
    """``p.grad = value`` or ``p.grad.data = value``; whether this is one of them."""
    if text == "grad":
        owners = [holder]
    elif text != "data" or not (owners := holders(m, holder)):
        return False
    effect = _effect_of_value(m, owners, value)
    if isinstance(value, Const) and value.value is None:
        effect = CLEARS
    elif effect == CLEARS and not (value.place is not None and value.place.node is at):
        # A tensor that was nought once; in ``p.grad *= 0`` it is that here.
        effect = WRITES
    _tell(m, owners, effect, at, assigned=True)
    return True


def augmented(m: Machine, before: Value, made: Node, at: syntax.expr) -> None:
    """``g *= value`` of a name that stands for a gradient."""
    owners = holders(m, before)
    if owners:
        _tell(m, owners, _effect_of_value(m, owners, made), at)


def in_place(
    m: Machine,
    target: Value,
    method: str,
    arguments: tuple[Value, ...],
    keywords: Mapping[str, Value],
    at: syntax.expr,
) -> bool:
    """``p.grad.mul_(value)``: a method that changes what may be a gradient; whether it is one."""
    owners = holders(m, target)
    if owners and method not in ("requires_grad_", "detach_"):
        given = (*arguments, *keywords.values())
        _tell(m, owners, _effect_of_method(m, owners, method.strip("_"), given), at)
    return bool(owners)


def by_function(
    m: Machine, path: str, arguments: tuple[Value, ...], keywords: Mapping[str, Value], at: Any
) -> None:
    """``torch._foreach_zero_(gradients)`` and the like, and what is written by ``out=``."""
    last = path.rpartition(".")[2]
    target = keywords.get("out")
    if target is not None:
        owners = holders(m, target)
        if owners:
            _tell(m, owners, _effect_of_value(m, owners, Node(last, arguments)), at)
    elif last.endswith("_") and not last.endswith("__") and arguments:
        name = last.removeprefix("_foreach_").strip("_")
        known = in_place(m, arguments[0], _NAMES.get(name, name), arguments[1:], keywords, at)
        if not known and last == "_foreach_zero_":
            written_somewhere(m, at)


def written_somewhere(m: Machine, at: syntax.expr) -> None:
    """Gradients are cleared or written by code that is not known: whose, nobody can tell."""
    values = {"operation": WRITES, "any_owner": True}
    m.emit("call", at, wild=True, maybe=_optimizers(m), values=values)


def may_clear(name: str) -> bool:
    """Whether the name of something that is not known says that it clears gradients."""
    return _CLEARING.search(name) is not None


def mentioned(function: syntax.AST) -> bool:
    """Whether the source of a function names gradients, or their clearing, at all."""
    return any(
        isinstance(one, syntax.Attribute) and one.attr in ("grad", "zero_grad")
        for one in syntax.walk(function)
    )


def _tell(
    m: Machine, owners_of: Iterable[Value], effect: str, at: syntax.expr, *, assigned: bool = False
) -> None:
    every = _optimizers(m)
    tokens, _ = parameters.held(m, tuple(owners_of))
    owners = parameters.owners(m, tokens)
    values: dict[str, Any] = {"any_owner": not owners} if assigned else {}
    if effect == CLEARS:
        m.emit(
            "optimizer.zero_grad", at, subjects={"optimizer": owners}, maybe=every, values=values
        )
    else:
        values["operation"] = effect
        m.emit("call", at, wild=True, maybe=frozenset(owners) or every, values=values)


def _optimizers(m: Machine) -> frozenset[int]:
    return frozenset(one.number for one in m.objects.values() if one.role == "optimizer")


def _effect_of_method(m: Machine, owners: list[Value], name: str, given: tuple[Value, ...]) -> str:
    zeros = [_is_zero(one) for one in given]
    if name == "zero" or (name in ("fill", "clamp") and zeros and all(zeros)):
        return CLEARS
    if name in ("sub", "subtract") and len(given) == 1 and _same(m, owners, given[0]):
        return CLEARS
    if name in _PRODUCTS and zeros[:1] == [True]:
        return CLEARS
    return SCALES if name in _SCALED and _is_factor(given[:1]) else WRITES


def _effect_of_value(m: Machine, owners: list[Value], value: Value) -> str:
    """What it does to gradients to become this value, which nobody has changed since."""
    if not isinstance(value, Node) or not 1 <= len(value.inputs) <= 2:
        return WRITES
    own = [_same(m, owners, one) for one in value.inputs]
    others = tuple(one for one, mine in zip(value.inputs, own, strict=True) if not mine)
    if value.op in _PRODUCTS and any(_is_zero(one) for one in others):
        return CLEARS
    if value.op in ("-", "sub", "subtract") and len(own) == 2 and all(own):
        return CLEARS
    return SCALES if value.op in _SCALED and any(own) and _is_factor(others) else WRITES


def _is_factor(given: tuple[Value, ...]) -> bool:
    """Whether nothing tells that a factor may be nought."""
    return not any(
        _is_zero(one) or (isinstance(one, Node) and one.op in _DECIDED)
        for value in given
        for one in options(value)
    )


def _same(m: Machine, owners: list[Value], value: Value) -> bool:
    """Whether a value is the gradients of the same tensors."""
    return {id(one) for one in owners} == {id(one) for one in holders(m, value)}


def _is_zero(value: Value) -> bool:
    """Whether a value is the number nought, whichever way the program went."""
    return all(
        isinstance(one, Const) and isinstance(one.value, int | float) and one.value == 0
        for one in options(value)
    )
