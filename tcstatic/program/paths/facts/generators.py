"""Random generators of datasets, of which each worker of a loader has a copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.splits import read_by, trains
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, happenings, loops
from tcstatic.program.paths.values import Class, Const, Node, Object, Place, Value
from tcstatic.program.source import syntax

_GENERATORS: Final = frozenset(
    {"numpy.random.default_rng", "numpy.random.RandomState", "random.Random", "Generator"}
)
_SEEDS: Final = frozenset("seed manual_seed set_state setstate reseed set_rng_state".split())
_CALLED: Final = "__call__"
# What tells one worker, or one epoch, from another.
_OWN: Final = frozenset({"get_worker_info", "initial_seed", "worker_id"})
_WORKERS: Final = 5  # position of num_workers among the arguments of a loader


@surveys
def generators(m: Machine, block: Block) -> None:
    """``copied_to_workers``: a generator that a dataset makes once, and draws its examples from in
    the workers of a loader that is trained with."""
    handed = frozenset[int]().union(*(one.maybe for one in happenings(block) if one.wild))
    for loop, around in loops(block):
        loader = read_by(loop)
        if loader is None or not trains(loop) or not _has_workers(loader):
            continue
        lasting = _last(loader)
        count = getattr(_workers(loader), "value", 0)
        repeated = any(not one.once for one in around)
        if count == 1 and (lasting != "no" or not repeated):
            continue  # one stream of numbers, which never begins anew
        data = m.attribute(loader, "dataset")
        if not isinstance(data, Object) or data.number in handed:
            continue
        for name, made in _drawn(m, data, "__getitem__"):
            again = ", and each epoch begins with the same" if lasting == "no" else ""
            tell(block, "copied_to_workers", made, name=name, workers=count, again=again)


def _drawn(m: Machine, holder: Object, asked: str) -> Iterator[tuple[str, Place]]:
    """The generators that a dataset makes once, and draws from when it is asked for an example;
    those of what it transforms examples with, as well."""
    if not isinstance(holder.type, Class) or _asks_for_itself(holder.type):
        return
    methods = _methods(holder.type)
    for text in sorted(holder.attributes):
        made = m.attribute(holder, text)
        if made is None or not _draws(methods, asked, text):
            continue
        if made.place is not None and _is_generator(made):
            yield text, made.place
        elif isinstance(made, Object) and asked != _CALLED and not made.role:
            yield from _drawn(m, made, _CALLED)


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


def _last(loader: Object) -> str:
    """Whether workers live longer than an epoch: yes, no, or unknown ('')."""
    given = loader.keywords.get("persistent_workers")
    known = given is None or isinstance(given, Const)
    return ("yes" if getattr(given, "value", False) else "no") if known else ""


def _asks_for_itself(owner: Class) -> bool:
    return any(
        getattr(part, "attr", getattr(part, "id", getattr(part, "arg", ""))) in _OWN
        for part in syntax.walk(owner.node)
    )


def _methods(owner: Class) -> dict[str, syntax.FunctionDef]:
    """The methods of a class, and of those of the program that it derives from."""
    found: dict[str, syntax.FunctionDef] = {}
    for base in owner.bases:
        found |= _methods(base) if isinstance(base, Class) else {}
    own = (one for one in owner.node.body if isinstance(one, syntax.FunctionDef))
    return found | {one.name: one for one in own}


def _draws(methods: dict[str, syntax.FunctionDef], asked: str, text: str) -> bool:
    """Whether a method, or those that it calls, use an attribute that no method but ``__init__``
    sets or gives another state."""
    waiting, used = [asked], set[str]()
    while waiting:
        name = waiting.pop()
        if name in methods and name not in used:
            used.add(name)
            waiting += [one.attr for one in _of_self(methods[name])]
    read = any(one.attr == text for name in used for one in _of_self(methods[name]))
    return read and not any(
        _begins_anew(part, text)
        for name, method in methods.items()
        if name != "__init__"
        for part in syntax.walk(method)
    )


def _begins_anew(part: syntax.AST, text: str) -> bool:
    """Whether an attribute, or the state below it, is set; or a generator is seeded, whichever."""
    if isinstance(part, syntax.Call):
        return wording.called(part) in _SEEDS
    if not isinstance(part, syntax.Attribute) or isinstance(part.ctx, syntax.Load):
        return False
    return f"{wording.name(part)}.".startswith(f"self.{text}.")


def _of_self(method: syntax.FunctionDef) -> list[syntax.Attribute]:
    """The attributes of ``self`` that a method names."""
    return [
        part
        for part in syntax.walk(method)
        if isinstance(part, syntax.Attribute)
        and isinstance(part.value, syntax.Name)
        and part.value.id == "self"
    ]
