"""A second name for a model, where a second model is meant."""

from __future__ import annotations

import re
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import WRAPPERS
from tcstatic.program.paths.project import Module, definitions_around
from tcstatic.program.paths.tree import Block, Called, Happening, happenings, with_calls
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
    loads = [(one, given) for one, given in with_calls(block) if one.kind == "model.load"]
    using = [(one, _names(one, given)) for one, given in loads if _loads_itself(one)]
    aliases = [one for one in every if one.values.get("operation") == "alias"]
    for load, names in using:
        if any(_is_chosen(load.place.module, name) for name in names):
            continue
        for name in names:  # what is loaded into, and then what the state is taken from
            for one in aliases:
                same = load.subjects.get("model") == one.subjects.get("model")
                if same and one.values["name"] == name and _is_second(m, one):
                    more: dict[str, Any] = {"name": name, "#trail": [("loaded", load.place)]}
                    tell(block, "loads_itself", one.place, subjects=one.subjects, **more)
                    return


def _is_second(m: Machine, one: Happening) -> bool:
    """Whether a further name is meant to be that of another model."""
    if _MEANT.search(str(one.values["name"])) or _is_copied(m, one):
        return False
    made = one.receiver.place if one.receiver is not None else None
    at_once = made is not None and made.node is one.place.node  # ``a = b = Net()``
    return at_once or _is_plain(syntax.unparse(one.place.node))


def _is_chosen(module: Module, name: str) -> bool:
    """Whether a name is that of the same model by choice: elsewhere it is bound to another one."""
    scopes: dict[syntax.AST | None, set[bool]] = {}
    for node in syntax.walk(module.tree):
        if not isinstance(node, syntax.Assign | syntax.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, syntax.Assign) else [node.target]
        if name not in {wording.name(one).rpartition(".")[2] for one in targets}:
            continue
        if isinstance(node.value, syntax.IfExp | syntax.BoolOp):
            return True
        scopes.setdefault(_scope(module, node), set()).add(bool(wording.name(node.value)))
    return any(len(kinds) > 1 for kinds in scopes.values())


def _scope(module: Module, node: syntax.Assign | syntax.AnnAssign) -> syntax.AST | None:
    """The class whose attributes a statement may bind, or the function whose names."""
    around = list(definitions_around(module.tree, node.lineno))
    target = node.targets[0] if isinstance(node, syntax.Assign) else node.target
    held = isinstance(target, syntax.Attribute)
    found = [one for one in around if isinstance(one, syntax.ClassDef) == held]
    return found[-1] if found else None


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


def _names(one: Happening, around: tuple[Called, ...]) -> list[str]:
    """The names of what is loaded into and of what the state is taken from, as the caller has
    them where a function was given both."""
    texts = _texts(one)
    for called in reversed(around):
        arguments = called.function.node.args
        names = [part.arg for part in (*arguments.posonlyargs, *arguments.args)]
        call = called.place.node
        if not isinstance(call, syntax.Call) or not set(texts) <= set(names):
            break
        given = dict(zip(names, map(syntax.unparse, call.args), strict=False))
        given.update({part.arg: syntax.unparse(part.value) for part in call.keywords if part.arg})
        if not set(texts) <= set(given):
            break
        texts = [given[text] for text in texts]
    return [text.rpartition(".")[2] for text in texts]
