"""Random transforms that are made for training, and given to the data that evaluates.

What is looked at is what things are called: the name that a dataset is bound to, and that of the
transform that it is given, or of what this is composed of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths.facts import written
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around, statements_in
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_HELD_OUT: Final = re.compile(
    r"(^|_)(val|valid|validation|test|eval|evaluation|dev|held|holdout)(_|\d|$)", re.IGNORECASE
)
# Evaluation that is random on purpose, or that belongs to training all the same.
_MEANT: Final = re.compile(r"\btta\b|_tta|tta_|train|calib|nois|robust|corrupt|aug", re.IGNORECASE)
_TRANSFORM: Final = re.compile(r"(^|_)(transforms?|tfms?|tf|augment\w*|augs?|preprocess\w*)$")
_FOR_TRAINING: Final = re.compile(r"(^|_)(train|training)(_|$)|(^|_)aug(s|ment\w*)?(_|$)")
_SWITCH: Final = re.compile(
    r"^((do|use|with)_)?(random_)?(augment|augmentation|augmentations|aug)$"
)
_RANDOM: Final = re.compile(
    r"^(Random(Crop|ResizedCrop|HorizontalFlip|VerticalFlip|Rotation|Affine|Perspective|Erasing"
    r"|Grayscale|Invert|Posterize|Solarize)|ColorJitter|AutoAugment|RandAugment|AugMix"
    r"|TrivialAugmentWide|GaussianNoise)$"
)
_COMPOSED: Final = frozenset({"Compose", "Sequential"})


@surveys
def augmented(m: Machine, block: Block) -> None:
    """``augmented`` of what makes data for evaluation random."""
    every = happenings(block)
    if not any(one.kind == "loss.backward" for one in every):
        return
    for module in dict.fromkeys(one.place.module for one in every):
        for node, name, given in _found(module):
            around = definitions_around(module.tree, node.lineno)
            place = Place(module, node, around[-1].name if around else "")
            tell(block, "augmented", place, name=name, given=given)


def _found(module: Module) -> Iterator[tuple[syntax.expr, str, str]]:
    """What is given to data for evaluation, the name of that, and what it is."""
    statements = [one for one in statements_in(module.tree) if isinstance(one, syntax.Assign)]
    composed = {
        name: random
        for statement in statements
        for name, value in written.pairs(statement)
        if (random := _random_in(value)) is not None
    }
    for statement in statements:
        line = module.text.lines[statement.lineno - 1]
        for name, value in written.pairs(statement):
            last = name.rpartition(".")[2]
            meant = _MEANT.search(last) or _MEANT.search(line.partition("#")[2])
            if not _HELD_OUT.search(last) or meant or not isinstance(value, syntax.Call):
                continue
            if _TRANSFORM.search(last):
                random = composed.get(name)
                found = [] if random is None else [(random, written.called(random))]
            else:
                found = list(_given(value, composed))
            yield from ((node, name, given) for node, given in found)


def _random_in(value: syntax.expr) -> syntax.Call | None:
    """The first random transform that is always applied, of those that one is composed of."""
    if not isinstance(value, syntax.Call) or written.called(value) not in _COMPOSED:
        return None
    parts = [part for one in value.args for part in getattr(one, "elts", [one])]
    for part in parts:
        if isinstance(part, syntax.Call) and _RANDOM.match(written.called(part)):
            return part
    return None


def _given(call: syntax.Call, composed: dict[str, syntax.Call]) -> Iterator[tuple[Any, str]]:
    """The arguments of a call that make what comes of it random."""
    for one in call.keywords:
        if one.arg is None:
            continue
        value, name = one.value, written.name(one.value)
        if _SWITCH.match(one.arg) and isinstance(value, syntax.Constant) and value.value is True:
            yield value, f"{one.arg}=True"
        elif _TRANSFORM.search(one.arg) and not _FOR_TRAINING.search(one.arg):
            if not _is_random(value, composed):
                continue
            yield value, name or written.called(value)
    for held in call.args:
        last = written.name(held).rpartition(".")[2]
        random = _is_random(held, composed) and bool(_TRANSFORM.search(last) or not last)
        if random and isinstance(held, syntax.Name | syntax.Attribute):
            yield held, last


def _is_random(value: syntax.expr, composed: dict[str, syntax.Call]) -> bool:
    """Whether a transform is one for training, by its name or by what it is composed of."""
    name = written.name(value)
    if not name:
        return _random_in(value) is not None
    last = name.rpartition(".")[2]
    told = name in composed or _FOR_TRAINING.search(last) is not None
    return told and not _HELD_OUT.search(last)
