"""Checkpoints of which one part is saved, and left behind when training is resumed.

What is looked at is the text of a module that both saves and resumes: the keys under which states
are saved, and those that are read from what is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths.facts import written
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_STATES: Final = frozenset("state_dict get_rng_state get_rng_state_all get_state getstate".split())
_OPTIMIZER: Final = re.compile("opt", re.IGNORECASE)
_SCHEDULE: Final = re.compile("sched", re.IGNORECASE)
# What may be done with a loaded checkpoint as a whole without anything being read from it.
_LOOKS: Final = frozenset("print keys len isinstance save".split())
_LEAST: Final = 2  # states that are restored: of the model and of what trains it


@surveys
def left_behind(m: Machine, block: Block) -> None:
    """``left_behind`` of the place where the other states of a checkpoint are restored."""
    every = happenings(block)
    if not any(one.kind == "loss.backward" for one in every):
        return
    for module in dict.fromkeys(one.place.module for one in every):
        text = module.text.text
        if "torch.save(" in text and "load_state_dict(" in text:
            for key, name, call in _found(module):
                around = definitions_around(module.tree, call.lineno)
                function = around[-1].name if around else ""
                place = Place(module, call, function)
                tell(block, "left_behind", place, key=key, name=name)


def _found(module: Module) -> Iterator[tuple[str, str, syntax.Call]]:
    nodes = list(syntax.walk(module.tree))
    saved = _saved(nodes)
    if saved is None:
        return
    read = [one.value for one in nodes if isinstance(one, syntax.Constant)]
    restored = list(_restored(nodes))
    keys = {key for key, _ in restored}
    by_optimizer = [key for key in keys & saved.keys() if _OPTIMIZER.search(key + saved[key])]
    if len(keys & saved.keys()) < _LEAST or not by_optimizer or _is_handed_on(nodes, restored):
        return
    for key, name in saved.items():
        if read.count(key) > 1 or key in keys:
            continue
        if _SCHEDULE.search(key + name) and "last_epoch" in module.text.text:
            continue
        call = max((one for _, one in restored), key=lambda one: one.lineno)
        yield key, name, call


def _saved(nodes: list[syntax.AST]) -> dict[str, str] | None:
    """The keys of the one checkpoint that is saved, each with whose state it is; None where there
    are several, or none."""
    found = [held for one in nodes if isinstance(one, syntax.Dict) for held in [_states(one)]]
    found = [held for held in found if len(held) > _LEAST]
    return found[0] if len(found) == 1 else None


def _states(one: syntax.Dict) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in zip(one.keys, one.values, strict=True):
        text = getattr(key, "value", None)
        called = written.called(value) if isinstance(value, syntax.Call) else ""
        if isinstance(text, str) and called in _STATES:
            found[text] = syntax.unparse(value)
    return found


def _restored(nodes: list[syntax.AST]) -> Iterator[tuple[str, syntax.Call]]:
    """The keys of what is restored, each with the call that does so."""
    for one in nodes:
        if isinstance(one, syntax.Call) and written.called(one) == "load_state_dict" and one.args:
            given: Any = one.args[0]
            key = getattr(given, "slice", None)
            if isinstance(given, syntax.Subscript) and isinstance(key, syntax.Constant):
                yield str(key.value), one


def _is_handed_on(nodes: list[syntax.AST], restored: list[tuple[str, syntax.Call]]) -> bool:
    """Whether something else may read a checkpoint: it is given to a function, kept, or asked for
    a key that is not written out."""
    bases = {written.name(getattr(call.args[0], "value", None)) for _, call in restored}
    for one in nodes:
        if isinstance(one, syntax.Call) and written.called(one) not in _LOOKS:
            given = [*one.args, *(keyword.value for keyword in one.keywords)]
            if any(written.name(part) in bases for part in given):
                return True
        if written.name(_taken_whole(one)) in bases - {""}:
            return True
    return "" in bases


def _taken_whole(one: syntax.AST) -> Any:
    """What is given back, gone over, or asked for a key that is not written out."""
    if isinstance(one, syntax.Subscript):
        return None if isinstance(one.slice, syntax.Constant) else one.value
    if isinstance(one, syntax.Return):
        return one.value
    return one.iter if isinstance(one, syntax.For) else None
