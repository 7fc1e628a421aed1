"""A second name for a model, where a second model is meant."""

from __future__ import annotations

import re
from typing import Any, Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import WRAPPERS
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Node, Object, options
from tcstatic.program.source import syntax

_DOTTED: Final = re.compile(r"\w+(\.\w+)*$")
# A further name for what is inside of a wrapper, and one for the best model so far.
_MEANT: Final = re.compile(r"best|module|unwrap|raw|orig|without", re.IGNORECASE)


@surveys
def aliases(m: Machine, block: Block) -> None:
    """``loads_itself``: a further name is given to a model, and the model's state is loaded by that
    name into the model itself."""
    every = list(happenings(block))
    loads = [one for one in every if one.kind == "model.load" and _loads_itself(one)]
    for one in every:
        name = str(one.values.get("name"))
        if one.values.get("operation") != "alias" or _MEANT.search(name):
            continue
        if not _is_plain(syntax.unparse(one.place.node)) or _is_copied(m, one):
            continue
        mine = [load for load in loads if load.subjects.get("model") == one.subjects.get("model")]
        using = [load for load in mine if name in _names(load)]
        if using:
            more: dict[str, Any] = {"name": name, "#trail": [("loaded", using[0].place)]}
            tell(block, "loads_itself", one.place, subjects=one.subjects, **more)
            return


def _loads_itself(one: Happening) -> bool:
    """Whether a model is given its own state, by two names."""
    given = one.arguments[0] if one.arguments else None
    if not isinstance(given, Node) or given.op != "state_dict" or not given.inputs:
        return False
    source = given.inputs[0]
    same = isinstance(source, Object) and one.subjects.get("model") == (source.number,)
    texts = _texts(one)
    return same and len(set(texts)) > 1 and all(map(_is_plain, texts))


def _is_plain(text: str) -> bool:
    """Whether an expression names a model, and nothing inside of a wrapper."""
    return _DOTTED.match(text) is not None and _MEANT.search(text) is None


def _is_copied(m: Machine, one: Happening) -> bool:
    """Whether a wrapper has a copy of the model, which goes by another name."""
    wrappers = [o for o in m.objects.values() if WRAPPERS.get(o.type_name) == "copies"]
    held = [value for o in wrappers if (value := m.attribute(o, "module")) is not None]
    return any(option.number in one.subjects["model"] for v in held for option in options(v))


def _texts(one: Happening) -> list[str]:
    """What ``load_state_dict`` and ``state_dict`` are called on, as written."""
    call = one.place.node
    given = call.args[0] if isinstance(call, syntax.Call) and call.args else None
    calls = [part for part in (call, given) if isinstance(part, syntax.Call)]
    held = [part.func.value for part in calls if isinstance(part.func, syntax.Attribute)]
    return [syntax.unparse(part) for part in held]


def _names(one: Happening) -> list[str]:
    return [text.rpartition(".")[2] for text in _texts(one)]
