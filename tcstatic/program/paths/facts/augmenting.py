"""Random transforms that are made for training, and given to the data that evaluates.

What is looked at is what things are called: the name that a dataset is bound to, and that of the
transform that it is given, or of what this is composed of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.comparing import compares
from tcstatic.program.paths.facts.composing import Bound, bound_in, is_composed, made_of
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_HELD_OUT: Final = re.compile(
    r"(^|_)(val|valid|validation|test|eval|evaluation|dev|held|holdout)"
    r"((_?(data)?set|data|ds|loader)?s?\d*)?(_|$)",
    re.IGNORECASE,
)
# Evaluation that is random on purpose, or that belongs to training all the same.
_MEANT: Final = re.compile(
    r"\btta\b|_tta|tta_|train|calib|nois|robust|corrupt|aug|purpose|contrast|simclr|views?\b",
    re.IGNORECASE,
)
_TRANSFORM: Final = re.compile(r"(^|_)(transforms?|tfms?|tfs?|augment\w*|augs?|preprocess\w*)$")
_FOR_TRAINING: Final = re.compile(r"(^|_)(train|training)(_|$)|(^|_)aug(s|ment\w*)?(_|$)")
_SWITCH: Final = re.compile(
    r"^((do|use|with)_)?(random_)?(augment|augmentation|augmentations|aug)$"
)
# What tells a dataset of one's own which part it is.
_PART: Final = re.compile(
    r"^(is_?)?(train(ing)?|val|valid|test|eval|split|mode|phase|part|subset)$"
)
_AROUND: Final = frozenset({"DataLoader", "Subset"})
_WORTH: Final = re.compile(r"[Tt]ransform|tfm|\btf|aug")
_Found = tuple[syntax.expr, str, str]


@surveys
def augmented(m: Machine, block: Block) -> None:
    """``augmented`` of what makes data for evaluation random."""
    modules = wording.modules(m, block)
    worth = [module for module in modules if _WORTH.search(module.text.text)]
    if not worth or not any(map(compares, modules)):
        return
    for module in worth:
        for node, name, given in wording.once(module, _found):
            around = definitions_around(module.tree, node.lineno)
            place = Place(module, node, around[-1].name if around else "")
            tell(block, "augmented", place, name=name, given=given)


@final
@dataclass(frozen=True, slots=True)
class _Said:
    """What a module says of all its names: which are read, of which the transform is set later,
    and what datasets are made by that are not held out."""

    read: frozenset[str]
    changed: frozenset[str]
    others: frozenset[str]


def _found(module: Module) -> tuple[_Found, ...]:
    """What is given to data for evaluation, the name of that, and what it is."""
    return tuple(_in_module(module))


def _in_module(module: Module) -> Iterator[_Found]:
    every = list(statements_in(module.tree))
    said = _said(module, every)
    bodies = [one.body for one in every if isinstance(one, syntax.FunctionDef)]
    general = bound_in(wording.own(module.tree.body))
    kept = {name: held for name, held in bound_in(every).items() if "." in name}
    for body in (module.tree.body, *bodies):
        statements = list(wording.own(body))
        bound = {**general, **kept, **bound_in(statements)}
        for statement in statements:
            for name, held, value in _held(statement):
                last = name.rpartition(".")[2]
                meant = _MEANT.search(last) or _MEANT.search(wording.comments(module, statement))
                if meant or not _HELD_OUT.search(last) or held.rpartition(".")[2] not in said.read:
                    continue
                if is_composed(value) and _TRANSFORM.search(held.rpartition(".")[2]):
                    random = made_of(value, bound)[1]
                    if random is not None:
                        yield random, name, wording.called(random)
                elif name not in said.changed:
                    call = _dataset(value)
                    if call is not None and wording.called(call) in said.others:
                        yield from ((one, name, text) for one, text in _given(module, call, bound))


def _held(statement: syntax.stmt) -> Iterator[tuple[str, str, syntax.expr]]:
    """What a statement binds, item for item: the name of each, that of all of it, and the value.
    ``{part: Data(part) for part in ("train", "val")}`` is a value for each name in the list."""
    for name, value in wording.pairs(statement):
        if isinstance(value, syntax.Dict):
            for key, item in zip(value.keys, value.values, strict=True):
                text = getattr(key, "value", None)
                if isinstance(text, str):
                    yield text, name, item
        elif isinstance(value, syntax.DictComp):
            source = value.generators[0].iter
            for part in getattr(source, "elts", ()):
                if isinstance(getattr(part, "value", None), str):
                    yield str(part.value), name, value.value
        else:
            yield name, name, value


def _dataset(value: Any) -> syntax.Call | None:
    """The call that makes the data, within what reads it."""
    while isinstance(value, syntax.Call):
        inner = value.args[0] if value.args else None
        if wording.called(value) not in _AROUND or not isinstance(inner, syntax.Call):
            return value
        value = inner
    return None


def _said(module: Module, every: list[syntax.stmt]) -> _Said:
    read: set[str] = set()
    changed: set[str] = set()
    for one in syntax.walk(module.tree):
        if isinstance(one, syntax.Name | syntax.Attribute):
            last = one.attr if isinstance(one, syntax.Attribute) else one.id
            if isinstance(one.ctx, syntax.Load):
                read.add(last)
            elif isinstance(one, syntax.Attribute) and _TRANSFORM.search(last):
                changed |= {wording.name(one.value), wording.name(one.value).rpartition(".")[0]}
        elif isinstance(one, syntax.Constant) and isinstance(one.value, str):
            read.add(one.value)  # a name in __all__, or one that is asked for by getattr
    calls = (
        _dataset(value)
        for statement in every
        for name, _, value in _held(statement)
        if not _HELD_OUT.search(name.rpartition(".")[2])
    )
    others = {wording.called(call) for call in calls if call is not None}
    return _Said(frozenset(read), frozenset(changed), frozenset(others))


def _given(module: Module, call: syntax.Call, bound: Bound) -> Iterator[tuple[Any, str]]:
    """The arguments of a call that make what comes of it random."""
    ours = not _is_librarys(module, call)
    if _has_choice(call) or (ours and _tells_part(call)):
        return
    for one in call.keywords:
        if one.arg is None:
            continue
        value, name = one.value, wording.name(one.value)
        if _SWITCH.match(one.arg) and isinstance(value, syntax.Constant) and value.value is True:
            yield value, f"{one.arg}=True"
        elif _FOR_TRAINING.search(one.arg) or not _TRANSFORM.search(one.arg):
            continue
        elif _is_random(value, bound, ours=ours):
            yield value, name or wording.called(value)
    for held in call.args:
        last = wording.name(held).rpartition(".")[2]
        if _TRANSFORM.search(last) and _is_random(held, bound, ours=ours):
            yield held, last


def _is_librarys(module: Module, call: syntax.Call) -> bool:
    """Whether a dataset is one of torchvision's, which does to an image what its transform does."""
    holder = wording.name(getattr(call.func, "value", None))
    imported = rf"from torchvision\.datasets import [^#\n]*\b{wording.called(call)}\b"
    return holder.rpartition(".")[2] == "datasets" or bool(re.search(imported, module.text.text))


def _has_choice(call: syntax.Call) -> bool:
    """Whether a dataset is also given what evaluation is to use."""
    names = [wording.name(one).rpartition(".")[2] for one in call.args]
    names = [name for name in names if _TRANSFORM.search(name)]
    names += [one.arg or "" for one in call.keywords if not _PART.match(one.arg or "")]
    names += [wording.name(one.value).rpartition(".")[2] for one in call.keywords]
    return any(_HELD_OUT.search(name) and _TRANSFORM.search(name) for name in names)


def _tells_part(call: syntax.Call) -> bool:
    """Whether a dataset is told which part it is: it may do nothing at random for that one."""
    told = [one for one in call.args if isinstance(one, syntax.Constant)]
    words = any(isinstance(one.value, bool) or _HELD_OUT.search(str(one.value)) for one in told)
    return words or any(_PART.match(one.arg or "") for one in call.keywords)


def _is_random(value: Any, bound: Bound, *, ours: bool) -> bool:
    """Whether a transform is one for training, by what it is composed of, or by its name where
    that is not known. A dataset of one's own may need what is random for what it is about."""
    last = wording.name(value).rpartition(".")[2]
    if isinstance(value, syntax.Subscript) and isinstance(value.slice, syntax.Constant):
        last = str(value.slice.value)
    known, random = made_of(value, bound)
    if _HELD_OUT.search(last) or (known and random is None):
        return False
    return _FOR_TRAINING.search(last) is not None or (random is not None and not ours)
