"""Data that each rank puts in another order, and that are then shared out by rank.

What is looked at is the text of one file that brings gradients together. Parts by rank are parts
of one order: drawn by a seed that is surely another one on each rank, they overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.rankwise import differs, is_rank, is_world, touches_rank
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.scopes import Scope, scopes
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"DistributedSampler|::")
TOGETHER: Final = re.compile(
    r"(DistributedDataParallel|DDP|FullyShardedDataParallel|FSDP|fully_shard)\("
    r"|all_reduce(_coalesced)?\([^\n]*grad"
)
_SAMPLER: Final = "DistributedSampler"
_GIVEN: Final = ("dataset", "num_replicas", "rank", "shuffle", "seed", "drop_last")
_DRAWS: Final = frozenset({"randperm", "permutation", "random_split"})
_SEEDED: Final = frozenset({"RandomState", "default_rng", "Random", "manual_seed"})
_SENT: Final = re.compile(r"broadcast|scatter")
_ROUNDS: Final = 8


@surveys
def shuffled(m: Machine, block: Block) -> None:
    """``another_order`` of the call that makes a sampler or tells it the epoch, or of a part."""
    for module, (node, name) in shared_out(block):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "another_order", place, name=name)


def shared_out(block: Block) -> Iterator[tuple[Module, tuple[Any, str]]]:
    """What is shared out by rank in an order of the rank's own, with the name of the rows."""
    return wording.found(block, _WORTH, _in_module)


def _in_module(module: Module) -> Iterator[tuple[Any, str]]:
    if not TOGETHER.search(module.text.text):
        return
    every = scopes(module)
    known = _is_of_torch(module)
    samplers = {
        name
        for scope in every
        for name, bound in scope.binds.items()
        if bound and all(known and _shuffles(scope, value) for _, value in bound)
    }
    for scope in every:
        told: set[int] = set()
        for statement in scope.own:
            for node in wording.expressions(statement):
                name = _told(scope, node, samplers) if known else ""
                name = name or _part(scope, node)
                cause = id(scope.bound(name, statement.lineno)) if name else 0
                if name and cause not in told:
                    told.add(cause)
                    yield node, name


def _is_of_torch(module: Module) -> bool:
    """Whether the sampler is torch's own."""
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.ClassDef) and node.name == _SAMPLER:
            return False
        if isinstance(node, syntax.ImportFrom) and any(one.name == _SAMPLER for one in node.names):
            return str(node.module).startswith("torch.utils.data")
    return bool(
        re.search(r"(utils\.data|data\.distributed|distributed)\." + _SAMPLER, module.text.text)
    )


def _shuffles(scope: Scope, node: Any) -> bool:
    """Whether a call makes a sampler of several parts that shuffles."""
    if not _makes_parts(scope, node):
        return False
    shuffle = _given(node).get("shuffle")
    return shuffle is None or getattr(shuffle, "value", None) is True


def _makes_parts(scope: Scope, node: Any) -> bool:
    """Whether a call makes a sampler of several parts."""
    if not isinstance(node, syntax.Call) or wording.called(node) != _SAMPLER:
        return False
    given = _given(node)
    parts = given.get("num_replicas")
    name = wording.name(parts)
    value = scope.bound(name, node.lineno) if name else None
    alone = any(getattr(one, "value", None) == 1 for one in (parts, value))
    return not alone and "**" not in given and "dataset" in given


def _given(call: syntax.Call) -> dict[str, syntax.expr]:
    given = dict(zip(_GIVEN, call.args, strict=False))
    return given | {one.arg or "**": one.value for one in call.keywords}


def _told(scope: Scope, node: Any, samplers: set[str]) -> str:
    """What is shared out by a sampler that is told another number on each rank, or that goes over
    a part which each rank has drawn for itself."""
    if isinstance(node, syntax.Call) and wording.called(node) == "set_epoch" and node.args:
        name = wording.name(getattr(node.func, "value", None))
        return name if name in samplers and differs(scope, node.args[0], node.lineno) else ""
    if not _makes_parts(scope, node):
        return ""
    data, seed = _given(node)["dataset"], _given(node).get("seed")
    if _split(scope, data):
        return wording.name(data)
    apart = seed is not None and differs(scope, seed, node.lineno) and _shuffles(scope, node)
    own = touches_rank(scope, data, node.lineno)
    return (wording.name(data) or "the data") if apart and not own else ""


def _split(scope: Scope, data: Any) -> bool:
    """Whether data are a part of a random split that is another one on each rank."""
    name = wording.name(data)
    value = scope.bound(name, data.lineno) if name else None
    if not isinstance(value, syntax.Call) or wording.called(value) != "random_split":
        return False
    whole = value.args[0] if value.args else None
    if whole is None or touches_rank(scope, whole, value.lineno):
        return False
    return _drawn_apart(scope, value)


def _part(scope: Scope, node: Any) -> str:
    """What a part by rank, ``order[rank::world]``, is a part of, if each rank has drawn it."""
    if not isinstance(node, syntax.Subscript) or not isinstance(node.slice, syntax.Slice):
        return ""
    cut = node.slice
    if not (is_world(cut.step) and is_rank(cut.lower) and differs(scope, cut.lower, node.lineno)):
        return ""
    value: Any = node.value
    for _ in range(_ROUNDS):
        name = wording.name(value)
        if name and _is_sent(scope, name):
            return ""
        if isinstance(value, syntax.Call) and wording.called(value) in _DRAWS:
            return (wording.name(node.value) or "rows") if _drawn_apart(scope, value) else ""
        value = scope.bound(name, node.lineno) if name else _whole(value)
    return ""


def _whole(value: Any) -> Any:
    """What a value is a part of, or another form of."""
    if isinstance(value, syntax.Subscript) and isinstance(value.slice, syntax.Slice):
        return value.value
    bare = wording.bare(value) if isinstance(value, syntax.Call) else value
    return None if bare is value else bare


def _is_sent(scope: Scope, name: str) -> bool:
    """Whether one rank sends what it has drawn to all."""
    return any(
        _SENT.search(wording.called(call)) and name in wording.names(call)
        for statement in scope.own
        for call in wording.calls(statement)
    )


def _drawn_apart(scope: Scope, call: syntax.Call) -> bool:
    """Whether something is drawn by numbers that are surely other ones on each rank."""
    source = next((one.value for one in call.keywords if one.arg == "generator"), None)
    if source is None and isinstance(call.func, syntax.Attribute):
        source = call.func.value
        if wording.name(source) in (
            "torch",
            "np.random",
            "numpy.random",
            "data",
            "torch.utils.data",
        ):
            source = None
    if source is None:
        library = "numpy" if wording.called(call) == "permutation" else "torch"
        return _seeded_apart(scope, library, call.lineno)
    return _is_apart(scope, source, call.lineno)


def _is_apart(scope: Scope, source: Any, line: int) -> bool:
    """Whether a generator is one that is seeded by the rank."""
    name = wording.name(source)
    if name:
        calls = [
            call
            for statement in scope.own
            if statement.lineno < line
            for call in wording.calls(statement)
            if wording.called(call) == "manual_seed"
            and wording.name(getattr(call.func, "value", None)) == name
        ]
        source = calls[-1] if calls else scope.bound(name, line)
    if not isinstance(source, syntax.Call) or wording.called(source) not in _SEEDED:
        return False
    return len(source.args) == 1 and differs(scope, source.args[0], source.lineno)


def _seeded_apart(scope: Scope, library: str, line: int) -> bool:
    """Whether the last seed that is set above a line is surely another one on each rank."""
    found = [
        (statement, call)
        for statement in scope.own
        if statement.lineno < line
        for call in wording.calls(statement)
        if "seed" in wording.called(call).lower() and _may_seed(call, library)
    ]
    if not found:
        return False
    statement, call = found[-1]
    sure = statement in scope.node.body and isinstance(statement, syntax.Expr)
    return sure and len(call.args) == 1 and differs(scope, call.args[0], call.lineno)


def _may_seed(call: syntax.Call, library: str) -> bool:
    """Whether a call may seed the numbers that a library draws for all."""
    holder = wording.name(getattr(call.func, "value", None))
    if library == "torch":
        return not holder.endswith("random") and holder not in ("random", "np", "numpy")
    return holder not in ("torch", "random", "torch.cuda")
