"""Triplet losses whose second example is called a negative one, and the third a positive one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"TripletMargin|triplet_margin")
_LOSSES: Final = frozenset({"TripletMarginLoss", "TripletMarginWithDistanceLoss"})
_FUNCTIONS: Final = frozenset({"triplet_margin_loss", "triplet_margin_with_distance_loss"})
_TAKES: Final = ("anchor", "positive", "negative")
_WORDS: Final = re.compile(r"[a-z]+")


@surveys
def triplets(m: Machine, block: Block) -> None:
    """``turned_round`` of a triplet loss that is given negative examples as positive ones."""
    for module, (call, positive, negative) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, title_around(module.tree, call.lineno))
        tell(block, "turned_round", place, name=positive, other=negative)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str, str]]:
    made = {
        name
        for one in statements_in(module.tree)
        for name, value in wording.pairs(one)
        if wording.called(value) in _LOSSES
    }
    for one in statements_in(module.tree):
        for call in wording.calls(one):
            if wording.name(call.func) not in made and wording.called(call) not in _FUNCTIONS:
                continue
            anchor, positive, negative = (_given(call, index) for index in range(3))
            if _is("neg", anchor, but="pos") or not _is("neg", positive, but="pos"):
                continue
            if _is("pos", negative, but="neg"):
                yield call, positive, negative


def _given(call: syntax.Call, index: int) -> str:
    """What a loss is given as one of the three, as it is written."""
    if index < len(call.args):
        return syntax.unparse(call.args[index])
    found = [one.value for one in call.keywords if one.arg == _TAKES[index]]
    return syntax.unparse(found[0]) if found else ""


def _is(kind: str, text: str, but: str) -> bool:
    """Whether a text is named for one kind of example, and not for the other."""
    words = _WORDS.findall(text.lower())
    return any(one.startswith(kind) for one in words) and not any(
        one.startswith(but) for one in words
    )
