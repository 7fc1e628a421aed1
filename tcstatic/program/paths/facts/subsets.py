"""Parts of one dataset, of which one is changed and all are."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Class, Const, Function, Node, Object, Value
from tcstatic.program.source import syntax

_SPLIT: Final = "random_split"
_CHANGES: Final = re.compile(r"transform|augment|(^|_)(is_?)?train(ing)?$", re.IGNORECASE)
# What is drawn at random, or called what is done for training alone.
_RANDOM: Final = re.compile(r"rand|aug|jitter|nois[ey]|shak|flip|^\w*train\w*$", re.IGNORECASE)
_Part = tuple[int, object]


@surveys
def subsets(m: Machine, block: Block) -> None:
    """``set_for_all`` of a transform that is set on the dataset behind one part of a split, and is
    meant for that part, while another part is read after that; the last one, where several are."""
    every = happenings(block)
    inside = {id(one) for loop, _ in loops(block) for one in happenings(loop.body)}
    stores = [
        (index, part, one)
        for index, one in enumerate(every)
        if id(one) not in inside and (part := _set_through(one)) is not None
    ]
    if not stores:
        return
    reads = [
        (index, _part(m.attribute(one.receiver, "dataset")))
        for index, one in enumerate(every)
        if one.kind == "loader.next" and isinstance(one.receiver, Object)
    ]
    index, part, last = stores[-1]
    later = any(at > index and _is_other(part, other) for at, other in reads)
    if later and _is_meant_for(part, last, [(other, one) for _, other, one in stores]):
        tell(block, "set_for_all", last.place, name=str(last.values.get("attribute")))


def _set_through(one: Happening) -> _Part | None:
    """The part of a split through which a transform is set."""
    held = one.receiver
    if one.values.get("operation") != "store" or not isinstance(held, Node):
        return None
    if not _CHANGES.search(str(one.values.get("attribute"))):
        return None
    return _part(held.inputs[0]) if held.op == "attr:dataset" and held.inputs else None


def _is_meant_for(part: _Part, last: Happening, stores: list[tuple[_Part, Happening]]) -> bool:
    """Whether what is set is for one part alone: another part is given something else, or it is
    random, or switches something. What all parts may have, such as what normalises, is not."""
    name = last.values.get("attribute")
    same = [(other, one) for other, one in stores if one.values.get("attribute") == name]
    given = {_text(one) for other, one in same if _is_other(part, other)}
    if given:
        return given != {_text(last)}
    value = last.arguments[0] if last.arguments else None
    if isinstance(value, Const) or _RANDOM.search(_text(last)) is not None:
        return True
    before = _made_with(last)
    return before is not None and _is_random(before) and not _is_random(value)


def _made_with(store: Happening) -> Value | None:
    """What the dataset behind a part was given under the name that is set, when it was made."""
    held: Value | None = store.receiver
    for _ in range(3):  # the part's dataset, the part of a split, the split of a dataset
        held = held.inputs[0] if isinstance(held, Node) and held.inputs else None
    if not isinstance(held, Object) or not isinstance(held.type, Class):
        return None
    taken = _takes(held.type, str(store.values.get("attribute")))
    for name, index in taken.items():
        if name in held.keywords:
            return held.keywords[name]
        if index < len(held.arguments):
            return held.arguments[index]
    return None


def _takes(made: Class, attribute: str) -> dict[str, int]:
    """The argument of a class's own `__init__` that becomes an attribute, and where it stands."""
    for one in made.node.body:
        if not isinstance(one, syntax.FunctionDef) or one.name != "__init__":
            continue
        places = {item.arg: index for index, item in enumerate(one.args.args[1:])}
        kept = {
            wording.name(held)
            for statement in wording.own(one.body)
            for name, held in wording.pairs(statement)
            if name == f"self.{attribute}"
        }
        return {name: index for name, index in places.items() if name in kept}
    return {}


def _is_random(value: Value | None) -> bool:
    """Whether a transform draws something, by its name or by what its class says."""
    place = value.place if value is not None else None
    text = syntax.unparse(place.node) if place is not None else getattr(value, "name", "")
    if isinstance(value, Function):
        text = syntax.unparse(value.node)
    if isinstance(value, Object) and isinstance(value.type, Class):
        text += syntax.unparse(value.type.node)
    return _RANDOM.search(text) is not None


def _text(store: Happening) -> str:
    """What is set, as it is written."""
    value = store.arguments[0] if store.arguments else None
    if isinstance(value, Const):
        return repr(value.value)
    if isinstance(value, Function):
        return syntax.unparse(value.node)
    place = value.place if value is not None else None
    return syntax.unparse(place.node) if place is not None else getattr(value, "name", "")


def _part(value: Value | None) -> _Part | None:
    """The split that a value is a part of, and which."""
    if not isinstance(value, Node) or value.op != "item" or len(value.inputs) != 2:
        return None
    split, index = value.inputs
    known = isinstance(split, Node) and split.op.rpartition(".")[2] == _SPLIT
    return (split.number, index.value) if known and isinstance(index, Const) else None


def _is_other(part: _Part, other: _Part | None) -> bool:
    return other is not None and part[0] == other[0] and part[1] != other[1]
