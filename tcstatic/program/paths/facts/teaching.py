"""A teacher that is asked without gradients while a student is trained, and is in train mode."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import parameters, wording
from tcstatic.program.paths.facts.dropouts import dropping_classes
from tcstatic.program.paths.facts.following import State, follow
from tcstatic.program.paths.facts.modes import is_sensitive, makes, switches
from tcstatic.program.paths.facts.orders import innermost, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Object
from tcstatic.program.source import syntax

_TEACHER: Final = re.compile(r"(^|_)teachers?(_?(model|net|network))?$")
# Teachers that follow their student, or whose answers are to be noisy.
_FOLLOWS: Final = re.compile(
    r"\bema\b|_ema\b|\bema_|lerp_|\.mul_\(|moving.average|mean.?teacher|pseudo|nois|uncertain|monte"
    r"|mc_?drop|byol|\bdino\b|momentum.?(teacher|encoder|update)|consistency|self.?train",
    re.IGNORECASE,
)


@surveys
def teaching(m: Machine, block: Block) -> None:
    """``teaches_in_train`` of a call of a teacher whose dropout is on, or whose statistics move."""
    asked = [one for one in happenings(block) if _is_asked(m, block, one)]
    if not asked or any(_FOLLOWS.search(one.text.text) for one in wording.in_use(block)):
        return
    dropping = dropping_classes(m, block)
    for number in sorted({one.subjects["model"][0] for one in asked}):
        model = m.objects.get(number)
        if isinstance(model, Object) and is_sensitive(m, model, dropping):
            _look(m, block, number, [one for one in asked if one.subjects["model"][0] == number])


def _is_asked(m: Machine, block: Block, one: Happening) -> bool:
    """Whether a teacher answers without gradients in a loop that trains another model."""
    call = one.place.node
    if one.kind != "model.forward" or one.assumed or not isinstance(call, syntax.Call):
        return False
    numbers = one.subjects.get("model", ())
    named = _TEACHER.search(wording.name(call.func).rpartition(".")[2].lower())
    if not named or len(numbers) != 1 or one.node is None or "#grad" not in one.node.keywords:
        return False
    loop = innermost(block, one)
    inside = happenings(loop.body) if loop is not None else []
    stepped = {n for s in inside if s.kind == "optimizer.step" for n in s.subjects["optimizer"]}
    model = m.objects.get(numbers[0])
    if model is None or not stepped or not any(s.kind == "loss.backward" for s in inside):
        return False
    return not stepped & set(parameters.owners(m, parameters.tokens_of_model(m, model)))


def _look(m: Machine, block: Block, number: int, asked: list[Happening]) -> None:
    """Tell of the calls before which the mode is train mode on all ways."""
    those = {id(one) for one in asked}
    modes: dict[int, set[Happening | None]] = {}
    uncertain = False

    def update(one: Happening, state: State) -> State:
        nonlocal uncertain
        if makes(one, number):
            return frozenset({None})
        if switches(m, one, number):
            return frozenset({one})
        copied = one.kind == "model.new" and number in one.subjects.get("model", ())
        uncertain = uncertain or copied or (one.wild and number in one.maybe)
        if id(one) in those:
            modes.setdefault(id(one), set()).update(state)
        return state

    follow(block, update)
    for one in asked:
        seen = modes.get(id(one), set())
        in_train = all(last is None or last.values.get("training") is True for last in seen)
        if seen and in_train and not uncertain:
            tell(block, "teaches_in_train", one.place, subjects={"model": (number,)})
