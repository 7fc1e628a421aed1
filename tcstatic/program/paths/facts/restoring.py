"""Checkpoints of which one part is saved, and left behind when training is resumed.

What is looked at is the text of a module that both saves and resumes: the keys under which states
are saved, and those that are read from what is loaded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_STATES: Final = frozenset("state_dict get_rng_state get_rng_state_all get_state getstate".split())
_OPTIMIZER: Final = re.compile("opt", re.IGNORECASE)
_TRAINS: Final = re.compile("opt|sched", re.IGNORECASE)
_SCHEDULE: Final = re.compile("sched", re.IGNORECASE)
# What may be done with a loaded checkpoint as a whole without anything being read from it.
_LOOKS: Final = frozenset("print keys len isinstance save".split())
_LOADS: Final = frozenset({"optimizer.load", "model.load"})
_LEAST: Final = 2  # states that are restored: of the model and of what trains it


@final
@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What a module says of its one checkpoint: whose states are saved under which keys, and which
    calls restore some of them; whether the keys stand there as strings, and whether anything else
    is read, such as a step to go on from."""

    saved: dict[str, syntax.expr]
    restored: dict[str, syntax.Call]
    literal: bool
    more: bool


@surveys
def left_behind(m: Machine, block: Block) -> None:
    """``left_behind`` of the place where the other states of a checkpoint are restored."""
    modules = wording.modules(m, block)
    for module in modules:
        for one in wording.once(module, _in_module):
            if not _is_resumed(one, module, block):
                continue
            for key in _left(one, modules, block):
                call = max(one.restored.values(), key=lambda held: held.lineno)
                around = definitions_around(module.tree, call.lineno)
                place = Place(module, call, around[-1].name if around else "")
                name = syntax.unparse(one.saved[key])
                tell(block, "left_behind", place, key=key, name=name)


def _in_module(module: Module) -> tuple[_Checkpoint, ...]:
    text = module.text.text
    return tuple(_read(module)) if "torch.save(" in text and "load_state_dict(" in text else ()


def _read(module: Module) -> Iterator[_Checkpoint]:
    nodes = list(syntax.walk(module.tree))
    saved = [(one, held) for one in nodes if len(held := _states(one)) > _LEAST]
    restored = dict(_restored(nodes))
    if len(saved) != 1 or _is_handed_on(nodes, list(restored.values())):
        return
    one, states = saved[0]
    known = restored.keys() & states.keys()
    trained = any(_TRAINS.search(f"{key} {syntax.unparse(states[key])}") for key in known)
    if len(known) >= _LEAST and trained:
        yield _Checkpoint(
            states, restored, isinstance(one, syntax.Dict), _reads_more(nodes, restored)
        )


def _reads_more(nodes: list[syntax.AST], restored: dict[str, syntax.Call]) -> bool:
    """Whether more is read from a checkpoint than the states that are restored."""
    bases = {wording.name(getattr(call.args[0], "value", None)) for call in restored.values()}
    return any(
        isinstance(one, syntax.Subscript)
        and wording.name(one.value) in bases
        and getattr(one.slice, "value", None) not in restored
        for one in nodes
    )


def _is_resumed(one: _Checkpoint, module: Module, block: Block) -> bool:
    """Whether states are restored before anything is trained: later, the rest is still there."""
    lines = {call.lineno for call in one.restored.values()}
    for happening in happenings(block):
        place = happening.place
        if happening.kind == "loss.backward":
            return False
        if happening.kind in _LOADS and place.module is module and place.node.lineno in lines:
            return True
    return False


def _left(one: _Checkpoint, modules: list[Module], block: Block) -> Iterator[str]:
    """The keys of what is saved that nothing restores, in any module of a program."""
    for key, value in one.saved.items():
        told = sum(wording.once(module, _read_in)[key] for module in modules) > int(one.literal)
        if told or key in one.restored or any(_is_set(value, module) for module in modules):
            continue
        if one.more and _OPTIMIZER.search(key):
            continue  # a rule of its own, which knows what is resumed
        schedule = _SCHEDULE.search(f"{key} {syntax.unparse(value)}")
        texts = [module.text.text for module in modules]
        if schedule and (_goes_on(block) or any(_knows_epoch(value, text) for text in texts)):
            continue
        yield key


def _read_in(module: Module) -> Counter[str]:
    """How often each string stands in a module."""
    every = (one.value for one in syntax.walk(module.tree) if isinstance(one, syntax.Constant))
    return Counter(one for one in every if isinstance(one, str))


def _is_set(value: syntax.expr, module: Module) -> bool:
    """Whether a module gives a state, from wherever, to what this is the state of."""
    called = wording.called(value)
    if called.startswith("get"):
        return f"s{called[1:]}(" in module.text.text
    return f"{_holder(value)}.load_state_dict(" in module.text.text


def _holder(value: syntax.expr) -> str:
    """The last name of what a value is the state of."""
    return wording.name(getattr(getattr(value, "func", None), "value", None)).rpartition(".")[2]


def _knows_epoch(value: syntax.expr, text: str) -> bool:
    """Whether a schedule is told which epoch it is: when it is built, or at each step."""
    name = re.escape(_holder(value))
    told = re.search(rf"\b{name}\.step\((?![\s)])", text) if name else None
    return "last_epoch" in text or (told is not None and "Plateau" not in text)


def _goes_on(block: Block) -> bool:
    """Whether a schedule is built, or stepped forward, between what is restored and training."""
    restored = False
    for one in happenings(block):
        if one.kind in _LOADS:
            restored = True
        elif restored and one.kind == "loss.backward":
            return False
        elif restored and one.kind in ("scheduler.new", "scheduler.step"):
            return True
    return False


def _states(one: syntax.AST) -> dict[str, syntax.expr]:
    """The keys of a table, each with the call whose state it holds."""
    found: dict[str, syntax.expr] = {}
    items: list[tuple[Any, syntax.expr]] = []
    if isinstance(one, syntax.Dict):
        items = [
            (getattr(key, "value", None), held)
            for key, held in zip(one.keys, one.values, strict=True)
        ]
    elif isinstance(one, syntax.Call) and wording.name(one.func) == "dict":
        items = [(keyword.arg, keyword.value) for keyword in one.keywords]
    for key, held in items:
        if isinstance(key, str) and wording.called(held) in _STATES:
            found[key] = held
    return found


def _restored(nodes: list[syntax.AST]) -> Iterator[tuple[str, syntax.Call]]:
    """The keys of what is restored, each with the call that does so."""
    for one in nodes:
        if isinstance(one, syntax.Call) and wording.called(one) == "load_state_dict" and one.args:
            given: Any = one.args[0]
            key = getattr(given, "slice", None)
            if isinstance(given, syntax.Subscript) and isinstance(key, syntax.Constant):
                yield str(key.value), one


def _is_handed_on(nodes: list[syntax.AST], restored: list[syntax.Call]) -> bool:
    """Whether something else may read a checkpoint: it is given to a function, kept, or asked for
    more than a key that is written out."""
    bases = {wording.name(getattr(call.args[0], "value", None)) for call in restored}
    for one in nodes:
        if isinstance(one, syntax.Call) and wording.called(one) not in _LOOKS:
            given = [*one.args, *(keyword.value for keyword in one.keywords)]
            if any(wording.name(part) in bases for part in given):
                return True
        if wording.name(_taken_whole(one)) in bases - {""}:
            return True
    return "" in bases


def _taken_whole(one: syntax.AST) -> Any:
    """What is given back, gone over, or asked for anything but a key that is written out."""
    if isinstance(one, syntax.Subscript):
        return None if isinstance(one.slice, syntax.Constant) else one.value
    if isinstance(one, syntax.Attribute):
        return None if one.attr in _LOOKS else one.value
    if isinstance(one, syntax.Return):
        return one.value
    return one.iter if isinstance(one, syntax.For | syntax.comprehension) else None
