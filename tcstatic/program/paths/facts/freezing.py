"""Layers that are frozen as they were made: with random weights, in the hands of an optimizer."""

from __future__ import annotations

from typing import Final

from tcstatic.program.paths import parameters
from tcstatic.program.paths.facts.grad_modes import written_by_hand
from tcstatic.program.paths.facts.layers import has_weights
from tcstatic.program.paths.facts.membership import holdings, is_fresh
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Object
from tcstatic.program.paths.walking import Token

_HANDS_ON: Final = frozenset({"add_param_group", "escape"})


@surveys
def frozen_at_random(m: Machine, block: Block) -> None:
    """``frozen_new`` where part of what an optimizer holds is frozen before any training, and
    nothing is ever loaded into it."""
    every = list(happenings(block))
    if not any(one.kind == "loss.backward" for one in every) or _is_open(every):
        return
    held = holdings(m, block)
    if not held:
        return
    for one in every:
        if one.kind == "loss.backward":
            return
        model = _frozen(m, one)
        if model is None or not _is_alone(one):
            continue
        lost = parameters.tokens_of_model(m, model)
        numbers = [number for number, tokens in held.items() if lost < tokens]
        if numbers and _is_as_made(m, every, model, lost):
            about = {"optimizer": (numbers[0],)}
            tell(block, "frozen_new", one.place, subjects=about, module=model.type_name)


def _is_open(every: list[Happening]) -> bool:
    """Whether code that is not known may do more to what is made here."""
    return any(
        (one.wild and bool(one.maybe)) or one.values.get("operation") in _HANDS_ON for one in every
    )


def _frozen(m: Machine, one: Happening) -> Object | None:
    numbers = one.subjects.get("model", ()) if one.kind == "model.freeze" else ()
    if len(numbers) != 1 or not one.arguments:
        return None
    told = one.arguments[0]
    off = isinstance(told, Const) and told.value is False
    return m.objects.get(numbers[0]) if off else None


def _is_alone(one: Happening) -> bool:
    """Whether the text speaks of ``requires_grad`` here alone: no filter, no thaw."""
    return one.place.module.text.text.count("requires_grad") == 1


def _is_as_made(m: Machine, every: list[Happening], model: Object, lost: frozenset[Token]) -> bool:
    parts = list(parameters.tree(m, model))
    if not has_weights(m, model) or not all(is_fresh(m, part) for part in parts):
        return False
    if written_by_hand(model):
        return False
    for one in every:
        if one.kind == "model.load" or (one.kind == "model.new" and one.values.get("how")):
            for number in one.subjects.get("model", ()):
                known = m.objects.get(number)
                if known is None or parameters.tokens_of_model(m, known) & lost:
                    return False
    return True
