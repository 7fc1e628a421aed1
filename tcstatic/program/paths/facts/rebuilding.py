"""Optimizers that are built anew for each step, and generators of parameters that are used up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import guesses, parameters
from tcstatic.program.paths.facts.orders import all_loops, guards, own, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.sequences import paths
from tcstatic.program.paths.tree import Block, Happening, Loop, happenings
from tcstatic.program.paths.values import (
    Const,
    Listing,
    Node,
    Object,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_STATEFUL: Final = frozenset(
    "Adam AdamW Adamax NAdam RAdam Adagrad Adadelta RMSprop SparseAdam ASGD Adafactor Muon".split()
)
_HARMLESS: Final = frozenset({"train", "eval", "zero_grad", "to", "cuda"})
# What starts a model anew, so that its optimizer has to start anew as well.
_RESETS: Final = frozenset({"model.load", "model.mutate", "model.new", "model.freeze"})
_FRESH: Final = re.compile(r"reset|init|restore|apply$", re.IGNORECASE)


@surveys
def rebuilt(m: Machine, block: Block) -> None:
    """Optimizers with a state, built in the loop that steps them once."""
    for loop in all_loops(block):
        inside = list(own(loop.body))
        for one in inside:
            if one.kind != "optimizer.new" or guards(loop.body, one):
                continue
            optimizer = m.objects.get(one.subjects["optimizer"][0])
            if optimizer is None or not _keeps_state(optimizer):
                continue
            step = _only_step(loop, inside, optimizer.number)
            known = _trains_older(m, optimizer, loop)
            if step is None or _resets(m, loop, optimizer if known else None):
                continue
            if known or _trains_older_unknown(one, loop):
                about = {"optimizer": (optimizer.number,)}
                assumed = step.assumed or not known
                tell(block, "rebuilt", one.place, assumed=assumed, subjects=about)


def _keeps_state(optimizer: Object) -> bool:
    if not isinstance(optimizer.type, str) or not optimizer.type.startswith("torch.optim."):
        return False
    if optimizer.type_name == "SGD":
        momentum = optimizer.keywords.get("momentum")
        return isinstance(momentum, Const) and bool(momentum.value)
    return optimizer.type_name in _STATEFUL


def _only_step(loop: Loop, inside: list[Happening], number: int) -> Happening | None:
    """The step in a loop's own body, if it is the only one of an optimizer."""
    steps = [
        one
        for one in happenings(loop.body)
        if one.kind == "optimizer.step" and number in one.subjects.get("optimizer", ())
    ]
    return steps[0] if len(steps) == 1 and steps[0] in inside else None


def _trains_older(m: Machine, optimizer: Object, loop: Loop) -> bool:
    """Whether all that an optimizer holds is older than the loop."""
    tokens, complete = m.attribute(optimizer, "#tokens"), m.attribute(optimizer, "#complete")
    if not isinstance(tokens, Const) or not isinstance(complete, Const) or not complete.value:
        return False
    return bool(tokens.value) and all(number < loop.begun for number, _ in tokens.value)


def _trains_older_unknown(made: Happening, loop: Loop) -> bool:
    """Whether an optimizer is given ``parameters()`` of what other code made before the loop, and
    the loop calls none of its methods for their effect."""
    first = made.arguments[0] if made.arguments else made.keywords.get("params")
    if not isinstance(first, Node) or first.op != "parameters" or len(first.inputs) != 1:
        return False
    source = first.inputs[0]
    if not isinstance(source, Node) or source.number >= loop.begun or source.op == "item":
        return False
    inside = list(happenings(loop.body))
    touched = any(
        one.values.get("operation") == "dropped"
        and one.node is not None
        and source in one.node.inputs
        and one.values.get("of") not in _HARMLESS
        for one in inside
    )
    return not touched and sum(one.kind == "loss.backward" for one in inside) == 1


def _resets(m: Machine, loop: Loop, optimizer: Object | None) -> bool:
    """Whether a loop may start a model anew; `optimizer` is given where all that it holds is older
    than the loop, so that models without any of it do not matter."""
    return any(
        (one.kind in _RESETS and not _is_other(m, one, optimizer))
        or (one.wild and one.maybe)
        or one.values.get("operation") == "load"
        or _starts_anew(m, one)
        for one in happenings(loop.body)
    )


def _starts_anew(m: Machine, one: Happening) -> bool:
    """Whether parameters get other values by hand, or their model is asked to choose new ones."""
    if one.values.get("operation") == "store" and one.values.get("attribute") == "data":
        return True
    if str(one.values.get("path", "")).startswith("torch.nn.init."):
        return True
    if one.values.get("operation") != "dropped" or one.node is None:
        return False
    name = str(one.values.get("of"))
    if name.startswith("method:"):
        return _FRESH.search(name) is not None
    return name.endswith("_") and any(
        isinstance(part, Node) and part.op in ("parameters", "named_parameters")
        for value in one.node.inputs[:1]
        for part in upstream(m, value, lambda _: True)
    )


def _is_other(m: Machine, one: Happening, optimizer: Object | None) -> bool:
    """Whether the model that something happens to holds no parameter of an optimizer."""
    tokens = m.attribute(optimizer, "#tokens") if optimizer is not None else None
    models = [m.objects.get(number) for number in one.subjects.get("model", ())]
    if not models or not isinstance(tokens, Const):
        return False
    return all(
        model is not None and not tokens.value & parameters.tokens_of_model(m, model)
        for model in models
    )


@surveys
def used_up(m: Machine, block: Block) -> None:
    """Generators of parameters that are gone through more than once."""
    uses: dict[int, tuple[Value, list[Happening]]] = {}
    for one in happenings(block):
        for value in _consumed(one):
            uses.setdefault(value.number, (value, []))[1].append(one)
    for value, users in uses.values():
        if value.place is None or not _again(block, value, users):
            continue
        tell(block, "used_up", value.place, assumed=False)


def _consumed(one: Happening) -> Iterator[Value]:
    """The generators that a happening goes through to their end."""
    if one.kind in ("optimizer.new", "grad.clip"):
        first = one.arguments[0] if one.arguments else one.keywords.get("params")
        values = options(first, 3) if first is not None else []
    elif one.values.get("operation") == "consumed" and one.receiver is not None:
        values = [one.receiver]
    else:
        return
    for value in values:
        if len(values) == 1 and is_generator(value):
            yield value


def is_generator(value: Value) -> bool:
    """Whether a value is a generator of parameters: gone through once, it is empty."""
    if isinstance(value, Node):
        known = value.subject is not None or _is_called_model(value)
        return value.op in ("parameters", "named_parameters", "filter") and known
    if isinstance(value, Listing) and value.place is not None:
        made = value.place.node
        return isinstance(made, syntax.GeneratorExp) and ".parameters()" in _text(made)
    return False


def _is_called_model(value: Node) -> bool:
    """Whether the name of what is asked for its parameters says that it is a model."""
    node = value.place.node if value.place is not None else None
    if not isinstance(node, syntax.Call) or not isinstance(node.func, syntax.Attribute):
        return False
    name = syntax.unparse(node.func.value).rpartition(".")[2]
    return value.op != "filter" and guesses.role(Unknown("name", name)) == "model"


def _text(node: syntax.expr) -> str:
    return " ".join(
        f".{part.func.attr}()"
        for part in syntax.walk(node)
        if isinstance(part, syntax.Call) and isinstance(part.func, syntax.Attribute)
    )


def _again(block: Block, value: Value, users: list[Happening]) -> bool:
    """Whether on every full path that uses a generator it is used again."""
    for loop in all_loops(block):
        inside = {id(one) for one in happenings(loop.body)}
        if value.number < loop.begun and any(
            id(one) in inside and not _goes_over(loop, one) for one in users
        ):
            return True
    wanted = {id(one) for one in users}
    if len(wanted) < 2:
        return False
    found = paths(block, lambda one: "use" if id(one) in wanted else "") or ()
    counts = [len({id(one) for one, _ in way.steps}) for way in found if way.full and way.steps]
    return bool(counts) and min(counts) > 1


def _goes_over(loop: Loop, one: Happening) -> bool:
    """Whether a happening is that this very loop goes through a value."""
    node = loop.place.node
    return one.place.node in (node, getattr(node, "iter", None))
