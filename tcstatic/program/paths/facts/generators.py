"""Random generators of datasets, of which each worker of a loader has a copy."""

from __future__ import annotations

from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.splits import read_by, trains
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, happenings, loops
from tcstatic.program.paths.values import Class, Const, Node, Object, Value
from tcstatic.program.source import syntax

_GENERATORS: Final = frozenset(
    {"numpy.random.default_rng", "numpy.random.RandomState", "random.Random", "Generator"}
)
# What tells one worker, or one epoch, from another.
_OWN: Final = frozenset({"get_worker_info", "initial_seed", "worker_id"})
_WORKERS: Final = 5  # position of num_workers among the arguments of a loader


@surveys
def generators(m: Machine, block: Block) -> None:
    """``copied_to_workers``: a generator that a dataset makes once, and draws its examples from in
    the workers of a loader that is trained with."""
    handed = frozenset[int]().union(*(one.maybe for one in happenings(block) if one.wild))
    for loop, _ in loops(block):
        loader = read_by(loop)
        if loader is None or not trains(loop) or not _has_workers(loader):
            continue
        data = m.attribute(loader, "dataset")
        if not isinstance(data, Object) or not isinstance(data.type, Class):
            continue
        if data.number in handed or _asks_for_itself(data.type):
            continue
        for text in sorted(data.attributes):
            made = m.attribute(data, text)
            if made is None or made.place is None or not _is_generator(made):
                continue
            if _draws(data.type, text):
                count = getattr(_workers(loader), "value", 0)
                tell(block, "copied_to_workers", made.place, name=text, workers=count)


def _workers(loader: Object) -> Value | None:
    given = loader.arguments[_WORKERS:]
    return given[0] if given else loader.keywords.get("num_workers")


def _has_workers(loader: Object) -> bool:
    """Whether a loader is known to have workers, and nothing that is run in each new one."""
    count = _workers(loader)
    known = isinstance(count, Const) and isinstance(count.value, int) and count.value > 0
    return known and not {"worker_init_fn", "**"} & loader.keywords.keys()


def _is_generator(made: Value) -> bool:
    if isinstance(made, Node) and made.op == "manual_seed" and made.inputs:
        return _is_generator(made.inputs[0])
    return isinstance(made, Node) and made.op in _GENERATORS


def _asks_for_itself(owner: Class) -> bool:
    return any(
        getattr(part, "attr", getattr(part, "id", getattr(part, "arg", ""))) in _OWN
        for part in syntax.walk(owner.node)
    )


def _draws(owner: Class, text: str) -> bool:
    """Whether ``__getitem__`` uses an attribute that is set nowhere but in ``__init__``."""
    methods = {one.name: one for one in owner.node.body if isinstance(one, syntax.FunctionDef)}
    waiting, used = ["__getitem__"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in methods and name not in used:
            used.add(name)
            waiting += [one.attr for one in _of_self(methods[name])]
    read = any(one.attr == text for name in used for one in _of_self(methods[name]))
    written = any(
        one.attr == text and isinstance(one.ctx, syntax.Store)
        for name, method in methods.items()
        if name != "__init__"
        for one in _of_self(method)
    )
    return read and not written


def _of_self(method: syntax.FunctionDef) -> list[syntax.Attribute]:
    """The attributes of ``self`` that a method names."""
    return [
        part
        for part in syntax.walk(method)
        if isinstance(part, syntax.Attribute)
        and isinstance(part.value, syntax.Name)
        and part.value.id == "self"
    ]
