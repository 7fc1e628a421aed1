"""Whose parameters are trained: those that optimizers hold, those that backward reaches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from tcstatic.program.paths import parameters, wording
from tcstatic.program.paths.facts.layers import has_parameters
from tcstatic.program.paths.facts.orders import is_wild, subjects, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import CONTAINERS, WRAPPERS
from tcstatic.program.paths.tree import (
    Block,
    Branch,
    Called,
    Happening,
    Loop,
    happenings,
    with_calls,
)
from tcstatic.program.paths.values import Const, Node, Object, Place, Value, options
from tcstatic.program.paths.walking import (
    Reach,
    Token,
    differentiable,
    tokens_of_parameter,
    upstream,
)

# Regions in which gradients may not be recorded, as far as the source tells.
_UNSURE: Final = frozenset({"grad_unknown", "unknown", "no_grad?", "grad_off"})
# How layers are given values that they are meant to keep: those of another model, or at random, as
# features of a kernel (Rahimi and Recht 2007).
_KEPT: Final = re.compile(
    r"\b(?:weight|bias)(?:\.data)?\.copy_\(|\bstate_dict\(\)\.(?:items|values)\(\)"
    r"|\b(?:cos|sin)\(\s*self\.\w+\("
)
_PARALLEL: Final = frozenset({"DistributedDataParallel", "DDP", "DataParallel"})


@final
@dataclass(frozen=True, slots=True)
class Trained:
    """What the backwards of a root reach: parameters, and the outermost models."""

    tokens: frozenset[Token]
    models: tuple[Object, ...]


def trained(m: Machine, block: Block) -> Trained | None:
    """What all backwards in loops of a root reach, if every one is known."""
    tokens: set[Token] = set()
    models: dict[int, Object] = {}
    for one in happenings(block):
        if one.kind != "loss.backward":
            continue
        reach = one.values.get("#reach")
        if not isinstance(reach, Reach) or reach.unknown or not reach.tokens:
            return None
        for value in one.arguments[:1]:
            found = _layers_behind(m, value)
            if found is None:
                return None
            tokens |= found
        for node in reach.forwards:
            if not isinstance(node.subject, Object):
                return None
            models[node.subject.number] = node.subject
    # Parameters that stand alone, and that no optimizer has, may be those of a model all the same.
    alone = frozenset(one for one in tokens if one[0] not in m.objects)
    if any(not parameters.owners(m, frozenset({one})) for one in alone):
        return None
    return Trained(frozenset(tokens), tuple(models.values())) if tokens else None


def _layers_behind(m: Machine, value: Value) -> frozenset[Token] | None:
    """The parameters of the layers that a loss depends on; None where one may record nothing."""
    found: set[Token] = set()
    for one in upstream(m, value, _recorded):
        if isinstance(one, Node) and one.op == "parameter":
            found |= tokens_of_parameter(m, one)
        if not isinstance(one, Node) or one.op != "forward" or not _recorded(one):
            continue
        if _UNSURE & set(one.regions):
            return None
        layer = one.subject
        if layer is None or not isinstance(layer, Object):
            return None
        if isinstance(layer.type, str) and layer.type_name not in (*CONTAINERS, *WRAPPERS):
            found |= parameters.tokens_of_model(m, layer)
    return frozenset(found)


def _recorded(value: Value) -> bool:
    off = isinstance(value, Node) and value.op == "forward" and "#grad" in value.keywords
    return differentiable(value) and not off


def _in_use(m: Machine, block: Block) -> frozenset[Token]:
    """The parameters of the models that are called in loops."""
    found: set[Token] = set()
    for one in happenings(block):
        if one.kind == "model.forward" and one.facts.get("in_loop"):
            for number in one.subjects["model"]:
                known = m.objects.get(number)
                if known is not None:
                    found |= parameters.tokens_of_model(m, known)
    return frozenset(found)


def holdings(m: Machine, block: Block) -> dict[int, frozenset[Token]] | None:
    """The parameters of each optimizer of a root, if all of them are known."""
    found: dict[int, frozenset[Token]] = {}
    for number in subjects(block, ("optimizer.new", "optimizer.step")):
        tokens, complete = m.cells.get((number, "#tokens")), m.cells.get((number, "#complete"))
        if not isinstance(tokens, Const) or not isinstance(complete, Const) or not complete.value:
            return None
        found[number] = tokens.value
    return found


@surveys
def shared(m: Machine, block: Block) -> None:
    """``shares`` of a step: whether another optimizer holds one of the same parameters."""
    held = holdings(m, block) or {}
    counts = Counter(token for tokens in held.values() for token in tokens)
    for one in happenings(block):
        if one.kind == "optimizer.step" and "optimizer" in one.subjects:
            mine = held.get(one.subjects["optimizer"][0], frozenset())
            one.values["shares"] = any(counts[token] > 1 for token in mine)


@surveys
def stale(m: Machine, block: Block) -> None:
    """Optimizers of which no parameter is in use: ``live.parameters`` is empty then, and the trail
    holds what put others in their place."""
    reached, holders = trained(m, block), holdings(m, block)
    known = frozenset().union(*holders.values()) if holders else frozenset()
    used = _in_use(m, block)
    for one in happenings(block):
        if one.kind != "optimizer.step" or "optimizer.parameters" not in one.values:
            continue
        if "stale" in one.values:
            continue
        held: frozenset[Token] = one.values["optimizer.parameters"]
        number = one.subjects["optimizer"][0]
        if is_wild(block, number):
            one.values.pop("live.parameters", None)
            continue
        mine = held | parameters.wholes(m, held)
        idle = reached is not None and not mine & (used | reached.tokens)
        if idle and one.facts.get("in_loop"):
            one.values["live.parameters"] = frozenset()
        told = reached is not None and holders is not None
        one.values["untracked"] = len(reached.tokens - known) if told and reached else None
        live: frozenset[Token] = one.values["live.parameters"]
        if len(live) < len(held):
            models = reached.models if reached is not None else ()
            place = _replacer(block, m.objects.get(number), held - live, number, models)
            one.values["#trail"] = [("replaced", place)] if place is not None else []
            one.values["stale"] = "all" if not live else str(len(held - live))


def _replacer(
    block: Block,
    made: Object | None,
    gone: frozenset[Token],
    optimizer: int,
    models: tuple[Object, ...],
) -> Place | None:
    """What put other parameters in the place of those of an optimizer."""
    numbers = {number for number, _ in gone} | {one.number for one in models}
    last: Place | None = None
    for one in happenings(block):
        replaces = (
            one.kind == "model.mutate"
            or (one.kind == "wrap.new" and one.values.get("how") == "replaces")
            or (one.kind == "model.load" and one.values.get("how") == "assign")
        )
        if replaces and _concerns(one, numbers):
            last = _asked(one, made)
    if last is not None:
        return last
    newer = [one for one in models if one.number > optimizer and one.place is not None]
    return _made_at(newer[0], made) if newer else None


def _asked(one: Happening, made: Object | None) -> Place:
    """Where a model was asked to change itself, at the latest in a function that made the
    optimizer."""
    builders = {number for number, _ in made.sites} if made is not None else set()
    asked: tuple[tuple[int, Place], ...] = one.values.get("#asked", ())
    for number, place in asked:
        if number in builders:
            return place
    return asked[-1][1] if asked else one.place


def _made_at(model: Object, optimizer: Object | None) -> Place | None:
    """Where a model was made, in the innermost function that made the optimizer too."""
    if not model.sites or optimizer is None:
        return model.place
    frames = {number for number, _ in optimizer.sites}
    shared = [place for number, place in model.sites if number in frames]
    return shared[-1] if shared else model.place


def _concerns(one: Happening, numbers: set[int]) -> bool:
    return bool(numbers & set(one.subjects.get("model", ())))


@surveys
def left_out(m: Machine, block: Block) -> None:
    """Parts that are made here and trained by no optimizer, although the loss depends on them."""
    reached, held = trained(m, block), holdings(m, block)
    if reached is None or not held:
        return
    missing = reached.tokens - frozenset().union(*held.values())
    if not missing or missing == reached.tokens or is_uncertain(m, block, missing):
        return
    if any(_KEPT.search(module.text.text) for module in wording.modules(m, block)):
        return
    parts = [m.objects[number] for number, _ in sorted(missing) if number in m.objects]
    parts = [one for one in parts if has_parameters(m, one)]
    if len(parts) != len(missing) or not all(is_fresh(m, one) for one in parts):
        return
    made = [
        one
        for one in happenings(block)
        if one.kind == "optimizer.new"
        and held.get(one.subjects["optimizer"][0], frozenset()) & reached.tokens
    ]
    older = [one for one in made if all(p.number < one.subjects["optimizer"][0] for p in parts)]
    # An optimizer of tensors alone looks for an input: a prompt, a code, an image.
    layers = [n for n, _ in frozenset().union(*held.values()) if n in m.objects]
    if len(made) == 1 and older and layers:
        name = ", ".join(dict.fromkeys(one.type_name for one in parts))
        tell(block, "left_out", made[0].place, subjects=made[0].subjects, module=name)


def is_fresh(m: Machine, one: Object) -> bool:
    return one.place is not None and m.cells.get((one.number, "#tainted")) is None


def is_uncertain(m: Machine, block: Block, missing: frozenset[Token]) -> bool:
    """Whether the parts may be frozen, loaded, or handed to code that is not known."""
    numbers = {number for number, _ in missing}
    for one in happenings(block):
        if one.kind in ("model.freeze", "model.load"):
            for number in one.subjects.get("model", ()):
                known = m.objects.get(number)
                tree = parameters.tree(m, known) if known is not None else ()
                if known is None or numbers & {part.number for part in tree}:
                    return True
        if one.wild and one.maybe:
            return True
        if one.values.get("operation") in ("add_param_group", "escape", "augmented"):
            return one.values.get("operation") != "augmented" or _in_place(one)
    return False


def _in_place(one: Happening) -> bool:
    return isinstance(one.receiver, Node) and one.receiver.op in ("item", "attr:data")


@surveys
def wrapping(m: Machine, block: Block) -> None:
    """``wrappers`` and ``bypasses`` of a model's forward: the data-parallel wrappers around it."""
    around = _wrapped(m)
    if not around:
        return
    forwards, frozen = _forwards(m, block)
    by_place = Counter(id(one.place.node) for one, _ in forwards)
    for one, calls in forwards:
        number = one.subjects["model"][0]
        known = m.objects.get(number)
        either = by_place[id(one.place.node)] > 1
        if known is None or either or one.facts.get("stage") != "train" or id(one) in frozen:
            continue
        inner = [o for o in _inside(m, known) if o.number in around]
        one.values["wrappers"] = max((len(around[o.number]) for o in inner), default=0)
        mine = around.get(number, ())
        one.values["wrapped"] = bool(mine)
        one.values["bypasses"] = bool(mine) and not _instead(block, one, mine)
        if one.values["bypasses"]:
            one.place = _entered(one.place, known, calls)
        trail = [o.place for o in sorted(_wrappers_of(inner, around), key=lambda o: o.number)]
        one.values["#trail"] = [("wrapped", place) for place in trail if place is not None]


def _forwards(
    m: Machine, block: Block
) -> tuple[list[tuple[Happening, tuple[Called, ...]]], frozenset[int]]:
    """The forwards of a program in order, and which of them are of models that are frozen just
    then: a critic is, while the generator learns."""
    found, frozen = [], set[int]()
    still = set[int]()
    for one, calls in with_calls(block):
        if one.kind == "model.freeze":
            told = one.arguments[0] if one.arguments else Const(True)
            off = isinstance(told, Const) and told.value is False
            known = [
                m.objects[number] for number in one.subjects.get("model", ()) if number in m.objects
            ]
            numbers = {inner.number for whole in known for inner in _inside(m, whole)}
            still = still | numbers if off else still - numbers
        elif one.kind == "model.forward":
            found.append((one, calls))
            if one.subjects["model"][0] in still:
                frozen.add(id(one))
    return found, frozenset(frozen)


def _entered(place: Place, model: Object, calls: tuple[Called, ...]) -> Place:
    """Where somebody else calls the method of a model that calls the model."""
    for call in reversed(calls):
        if call.whose is not model:
            break
        place = call.place
    return place


def _instead(block: Block, one: Happening, wrappers: tuple[Object, ...]) -> bool:
    """Whether a wrapper is called where a branch goes another way than to a forward."""
    numbers = {wrapper.number for wrapper in wrappers}
    for step in block.steps:
        if isinstance(step, Branch):
            sides = [list(happenings(side)) for side in step.alternatives]
            if any(one in side for side in sides) and any(
                other.kind == "model.forward" and other.subjects["model"][0] in numbers
                for side in sides
                if one not in side
                for other in side
            ):
                return True
            if any(_instead(side, one, wrappers) for side in step.alternatives):
                return True
        elif isinstance(step, Loop | Called) and _instead(step.body, one, wrappers):
            return True
    return False


def _wrapped(m: Machine) -> dict[int, tuple[Object, ...]]:
    """The data-parallel wrappers around each model that is wrapped, directly or not."""
    found: dict[int, tuple[Object, ...]] = {}
    for one in m.objects.values():
        if one.type_name in _PARALLEL and isinstance(one.type, str) and one.place is not None:
            for inner in _inside(m, one):
                if inner is not one:
                    found[inner.number] = (*found.get(inner.number, ()), one)
    return found


def _inside(m: Machine, one: Object) -> Iterator[Object]:
    """A wrapper, and what it wraps, down to the model."""
    waiting = [one]
    while waiting:
        present = waiting.pop()
        yield present
        if present.type_name in _PARALLEL and isinstance(present.type, str):
            held = m.attribute(present, "module")
            waiting.extend(v for v in options(held, 3) if isinstance(v, Object)) if held else None


def _wrappers_of(inner: list[Object], around: dict[int, tuple[Object, ...]]) -> dict[Object, None]:
    return dict.fromkeys(wrapper for one in inner for wrapper in around[one.number])
