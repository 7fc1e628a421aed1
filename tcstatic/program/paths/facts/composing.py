"""Transforms: what a name stands for that one is kept under, and whether it is random."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.source import syntax

_RANDOM: Final = re.compile(
    r"^(Random(Crop|ResizedCrop|HorizontalFlip|VerticalFlip|Rotation|Affine|Perspective|Erasing"
    r"|Grayscale|Invert|Posterize|Solarize)|ColorJitter|AutoAugment|RandAugment|AugMix"
    r"|TrivialAugmentWide|GaussianNoise)$"
)
_FIXED: Final = frozenset(
    """ToTensor PILToTensor ToImage ToDtype ConvertImageDtype Normalize Resize CenterCrop Pad
    Grayscale Lambda""".split()
)
_BY_CHANCE: Final = re.compile("Flip|Erasing|Grayscale|Invert|Perspective")
_COMPOSED: Final = frozenset({"Compose", "Sequential"})
_DEPTH: Final = 6  # names of names that are followed
Bound = dict[str, list[syntax.expr]]
# Whether it is known of which parts something is made, and the first random one of them.
Made = tuple[bool, syntax.Call | None]


def bound_in(statements: Iterable[syntax.stmt]) -> Bound:
    """All that each name is bound to."""
    found: Bound = {}
    for statement in statements:
        for name, value in wording.pairs(statement):
            found.setdefault(name, []).append(value)
    return found


def is_composed(value: Any) -> bool:
    """Whether a value is composed of transforms, where it stands."""
    return isinstance(value, syntax.Call) and wording.called(value) in _COMPOSED


def made_of(value: Any, bound: Bound, depth: int = 0) -> Made:
    """What a transform, or a list of some, is made of; a name is as random as all that it may
    stand for."""
    if depth > _DEPTH:
        return False, None
    if is_composed(value):
        return _all_of(value.args, bound, depth)
    if isinstance(value, syntax.List | syntax.Tuple):
        return _all_of(value.elts, bound, depth)
    if isinstance(value, syntax.Starred):
        return made_of(value.value, bound, depth + 1)
    if isinstance(value, syntax.Call):
        random = _RANDOM.match(wording.called(value)) and not _is_off(value)
        return wording.called(value) in _FIXED or bool(random), value if random else None
    choices = list(_choices(value, bound))
    made = [made_of(one, bound, depth + 1) for one in choices]
    if all(random is not None for _, random in made):
        return made[0] if made else (False, None)
    return len(made) > 1 or made[0][0], None


def _choices(value: Any, bound: Bound) -> Iterator[syntax.expr]:
    """What a name, or an item of a table, may stand for."""
    if isinstance(value, syntax.IfExp):
        yield from (value.body, value.orelse)
    elif isinstance(value, syntax.Subscript) and isinstance(value.slice, syntax.Constant):
        for table in bound.get(wording.name(value.value), ()):
            if isinstance(table, syntax.Dict):
                keys = [getattr(key, "value", None) for key in table.keys]
                if value.slice.value in keys:
                    yield table.values[keys.index(value.slice.value)]
    else:
        yield from bound.get(wording.name(value), ())


def _all_of(parts: Iterable[Any], bound: Bound, depth: int) -> Made:
    """The first random part that is not cut to the size that it has already."""
    known, before = True, ""
    for part in parts:
        one, random = made_of(part, bound, depth + 1)
        known = known and one
        if random is not None and not (before and _size(random) == before):
            return True, random
        before = _size(part) or before
    return known, None


def _size(part: Any) -> str:
    """The size that a part cuts pictures to; '' for none."""
    cuts = isinstance(part, syntax.Call) and part.args and "Crop" in wording.called(part)
    return syntax.unparse(part.args[0]) if cuts and not part.keywords else ""


def _is_off(call: syntax.Call) -> bool:
    """Whether a random transform is told never to change anything."""
    chance = [one.value for one in call.keywords if one.arg == "p"]
    if _BY_CHANCE.search(wording.called(call)):
        chance += call.args[:1]
    never = any(isinstance(one, syntax.Constant) and one.value == 0 for one in chance)
    return never or (wording.called(call) == "ColorJitter" and not call.args and not call.keywords)
