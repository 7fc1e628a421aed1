"""Images and their masks that are flipped, cut or turned each by a chance of its own.

What is looked at is the text of one function that hands out items: a random transform is called on
an image, and a random transform is called again on what is named a mask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.composing import Bound, bound_in, made_of
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"mask|seg|target|label|depth|annot")
_IMAGE: Final = re.compile(r"(^|_)(im|img|image|picture|photo|x|input|scan|slice|frame)s?\d*$")
_MASK: Final = re.compile(
    r"(^|_)(mask|seg|segmentation|gt|target|label|labels|labelmap|annotation|annot|depth)s?\d*$"
)
_GEOMETRIC: Final = re.compile(
    r"Flip|Crop|Rotat|Affine|Perspective|Elastic|Rot90|Translate|Zoom|Shear|Deform"
)
_MOVES: Final = re.compile(r"flip|roll\(|rot90|crop|rotate|affine|\[::-1\]|transpose")
_CHANCE: Final = re.compile(r"random\.|torch\.rand|\brand(int)?\(|np\.random|rng\.|bernoulli")
# What makes chance repeat itself.
_REPEATED: Final = re.compile(
    r"seed\(|seed_|rng_state|getstate|setstate|get_params|replay|deterministic|seed\s*=|fork_rng"
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_Classes = dict[str, syntax.ClassDef]


@surveys
def pairwise(m: Machine, block: Block) -> None:
    """``moved_apart`` of a mask that is transformed by another chance than its image."""
    for module, (node, mask, image) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "moved_apart", place, name=mask, other=image)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str, str]]:
    every = list(statements_in(module.tree))
    classes = {one.name: one for one in every if isinstance(one, syntax.ClassDef)}
    bound = bound_in(every)
    for holder in (None, *classes.values()):
        body = module.tree.body if holder is None else holder.body
        for function in body:
            if not isinstance(function, _DEFINES):
                continue
            if _REPEATED.search(module.segment(function)):
                continue
            yield from _in_function(module, function, _Known(bound, classes, holder, module))


class _Known:
    """What names stand for, within a class or a module."""

    __slots__ = ("bound", "classes", "holder", "module")

    def __init__(
        self, bound: Bound, classes: _Classes, holder: syntax.ClassDef | None, module: Module
    ) -> None:
        self.bound, self.classes, self.holder, self.module = bound, classes, holder, module

    def is_geometric(self, function: Any) -> bool:
        """Whether what is called moves the parts of a picture, by chance."""
        return any(self._moves(one) for one in self._choices(function))

    def _choices(self, function: Any) -> Iterator[Any]:
        values = self.bound.get(wording.name(function), [])
        if isinstance(function, syntax.Call):
            values = [function]
        for value in values if len(values) == 1 else ():
            given = self._given(value)
            yield from given if given else (value,)

    def _given(self, value: Any) -> list[syntax.expr]:
        """What is handed over for an argument by all who make an object of the class."""
        if not isinstance(value, syntax.Name) or self.holder is None:
            return []
        made = next((one for one in self.holder.body if getattr(one, "name", "") == "__init__"), 0)
        names = [one.arg for one in made.args.args][1:] if isinstance(made, _DEFINES) else []
        if value.id not in names:
            return []
        found = []
        for one in syntax.walk(self.module.tree):
            if isinstance(one, syntax.Call) and wording.called(one) == self.holder.name:
                found += [part.value for part in one.keywords if part.arg == value.id]
                found += one.args[names.index(value.id) :][:1]
        return found

    def _moves(self, value: Any) -> bool:
        random = made_of(value, self.bound)[1]
        if random is not None:
            return _GEOMETRIC.search(wording.called(random)) is not None
        own = self.classes.get(wording.called(value))
        if own is None:
            return False
        text = self.module.segment(own)
        return bool(_CHANCE.search(text) and _MOVES.search(text) and not _REPEATED.search(text))


def _in_function(
    module: Module, function: Any, known: _Known
) -> Iterator[tuple[syntax.Call, str, str]]:
    images: dict[str, Any] = {}
    masks: list[tuple[syntax.Call, str]] = []
    for statement in wording.own(function.body):
        for call in wording.calls(statement):
            name = wording.name(call.args[0]) if len(call.args) == 1 and not call.keywords else ""
            last = name.rpartition(".")[2].lower()
            if _IMAGE.search(last):
                images[name] = call.func
            elif _MASK.search(last):
                masks.append((call, name))
    moved = [name for name, func in images.items() if known.is_geometric(func)]
    for call, name in masks:
        if len(moved) == 1 and known.is_geometric(call.func):
            yield call, name, moved[0]
