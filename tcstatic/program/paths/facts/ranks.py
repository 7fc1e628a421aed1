"""What only some of the ranks do: collectives, and files that are saved."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.conditions import unflipped
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import definitions_around
from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop, happenings
from tcstatic.program.paths.values import (
    Bound,
    Const,
    External,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
)
from tcstatic.program.paths.walking import inputs_of
from tcstatic.program.source import syntax

_RANKS: Final = frozenset({"dist.get_rank", "dist.get_node_local_rank", "dist.get_group_rank"})
_NAMES: Final = re.compile(
    r"(^|_)(rank(?!s)|is_main|is_master|is_primary|main_process|rank_?zero|rank0|local_master)|^master_"
    r"|process_index",
    re.IGNORECASE,
)
_FIRST: Final = re.compile(
    r"is_(main|master|primary|rank_?zero|rank_?0|global_zero)|main_process|rank_?zero$|^master",
    re.IGNORECASE,
)
_READS: Final = frozenset({"item", "os.environ.get", "os.getenv", "method:get"})
_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    "in": lambda one, many: isinstance(many, list) and one in many,
    "is": operator.eq,
}
_POINT_TO_POINT: Final = frozenset(
    "send recv isend irecv batch_isend_irecv send_object_list recv_object_list".split()
)
_SPLITTERS: Final = frozenset(
    {"DistributedDataParallel", "FullyShardedDataParallel", "DDP", "FSDP"}
)
_DEEPEST: Final = 200
_DEPTH: Final = 12


def rank_in(m: Machine, value: Value, *, deep: bool = True) -> str:
    """``known`` if the rank is behind a value, ``named`` if only its name says so, else ''; with
    `deep`, behind what data was made of as well."""
    asked = (f"rank {deep}", value.number)
    known = m.answers.get(asked)
    if known is None:
        known = m.answers[asked] = _rank_behind(m, value, deep)
    return known


def _rank_behind(m: Machine, value: Value, deep: bool) -> str:
    waiting, guessed = [value], False
    seen: set[int] = set()
    while waiting and len(seen) < _DEEPEST:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Node) and (one.op in _RANKS or _from_environment(one)):
            return "known"
        guessed = guessed or _is_named(one)
        if not deep and isinstance(one, Node) and one.op == "isinstance":
            continue
        waiting.extend(inputs_of(m, one))
        if deep and isinstance(one, Object) and one.role in ("dataset", "sampler", "loader", ""):
            waiting.extend((*one.arguments, *one.keywords.values()))
    return "named" if guessed else ""


def _from_environment(one: Node) -> bool:
    if one.op not in _READS:
        return False
    texts = [p.value for p in one.inputs if isinstance(p, Const) and isinstance(p.value, str)]
    holder = one.op.startswith("os.") or any(
        isinstance(p, External) and p.path.startswith("os.") for p in one.inputs
    )
    return holder and any(text in ("RANK", "LOCAL_RANK", "SLURM_PROCID") for text in texts)


def _is_named(one: Value) -> bool:
    if isinstance(one, Unknown | Bound):
        return bool(_NAMES.search(one.name))
    return isinstance(one, Node) and ":" in one.op and bool(_NAMES.search(one.op.split(":")[-1]))


def _on(m: Machine, value: Value, rank: int, depth: int = 0) -> Any:
    """What a value is on a rank, None where that is not known; other ranks do as rank 1 does."""
    if isinstance(value, Const):
        return value.value
    if depth > _DEPTH:
        return None
    if isinstance(value, Phi):
        asked = [one for one in value.options if rank_in(m, one, deep=False)]
        found = [_on(m, one, rank, depth + 1) for one in asked]
        return found[0] if found and all(one == found[0] for one in found) else None
    if isinstance(value, Node):
        return _of_node(m, value, rank, depth + 1)
    return _of_name(value.name, rank) if isinstance(value, Unknown | Bound) else None


def _of_name(text: str, rank: int) -> Any:
    if _FIRST.search(text):
        return rank == 0
    return rank if _NAMES.search(text) else None


def _of_node(m: Machine, value: Node, rank: int, depth: int) -> Any:
    if value.op in _RANKS or _from_environment(value):
        return rank
    if value.op in ("and", "or"):
        return _of_several(m, value, rank, depth)
    if value.op == "item" and len(value.inputs) == 2:
        return _of_item(m, value, rank, depth)
    parts = [_items(m, one, rank, depth) for one in value.inputs]
    if value.op == "not":
        return None if parts[0] is None else not parts[0]
    if value.op == "neg":
        return -parts[0] if isinstance(parts[0], int) else None
    if value.op in _COMPARISONS and len(parts) == 2:
        if None in parts or any(isinstance(one, list) and None in one for one in parts):
            return None
        if value.op != "in" and not all(isinstance(one, int) for one in parts):
            return None
        return bool(_COMPARISONS[value.op](*parts))
    if value.op in ("int", "int_", "call") and parts:
        return parts[0]
    return _of_name(value.op.split(":")[-1], rank) if ":" in value.op else None


def _of_several(m: Machine, value: Node, rank: int, depth: int) -> Any:
    """Conditions joined: those that do not ask for the rank ask whether there are ranks at all."""
    parts = [(one, _on(m, one, rank, depth)) for one in value.inputs]
    known = [part for _, part in parts if part is not None]
    if value.op == "and" or any(known) or not known:
        return all(known) if known else None
    # "or" something else: only its negation says that there is but one rank
    others = [one for one, part in parts if part is None]
    return False if all(isinstance(one, Node) and one.op == "not" for one in others) else None


def _of_item(m: Machine, value: Node, rank: int, depth: int) -> Any:
    """A part of a tuple, also of one that a context manager gives."""
    holder, index = value.inputs
    while isinstance(holder, Node) and holder.inputs and holder.op.startswith(("enter", "context")):
        holder = holder.inputs[0]
    if isinstance(holder, Listing) and isinstance(index, Const):
        part = m.attribute(holder, lookup.key_of(index))
        return _on(m, part, rank, depth) if part is not None else None
    return None


def _items(m: Machine, value: Value, rank: int, depth: int) -> Any:
    if isinstance(value, Listing):
        return [_on(m, one, rank, depth) for one in lookup.items(m, value)]
    return _on(m, value, rank, depth)


@final
@dataclass(slots=True)
class _Rank:
    """What happens on a rank, as far as the rank decides; `seen` is written in order."""

    machine: Machine
    rank: int
    seen: list[Happening] = field(default_factory=list)
    certain: bool = True
    doubtful: set[int] = field(default_factory=set)

    def block(self, block: Block) -> str:
        """Walk a block; how it was left for certain, or ''."""
        left = ""
        for step in block.steps:
            if left and not isinstance(step, Happening):
                break  # behind an exit, only what a finally clause does
            if isinstance(step, Happening):
                self.seen.append(step)
            elif isinstance(step, Exit):
                left = step.kind
            elif inner := self._inside(step):
                return inner
        return left

    def _inside(self, step: Branch | Loop | Called) -> str:
        if isinstance(step, Branch):
            return self._branch(step)
        inner = self.block(step.body)
        passed = ("stop", "raise") if isinstance(step, Called) else ("return", "stop", "raise")
        return inner if inner in passed else ""

    def _branch(self, step: Branch) -> str:
        if step.condition is not None and len(step.alternatives) == 2:
            # the alternatives are those of the condition without its negations
            asked_for = unflipped(step.condition)[0]
            truth = _on(self.machine, asked_for, self.rank)
            text = isinstance(asked_for, Node) and _from_environment(asked_for)
            if truth is not None and not text:
                asked = rank_in(self.machine, step.condition, deep=False)
                self.certain = self.certain and asked != "named"
                return self.block(step.alternatives[0 if truth else 1])
        begun = len(self.seen)
        for one in step.alternatives:
            self.block(one)
        if step.condition is not None and rank_in(self.machine, step.condition, deep=False):
            self.doubtful |= {id(one) for one in self.seen[begun:]}
        return ""


@surveys
def ranks(m: Machine, block: Block) -> None:
    """``every_rank`` of what is saved; ``one_sided`` calls of collectives."""
    every = list(happenings(block))
    collectives = [one for one in every if one.kind == "dist.collective"]
    distributed = any(
        one.kind == "dist.init" or (one.kind == "wrap.new" and one.values.get("type") in _SPLITTERS)
        for one in every
    )
    saves = [one for one in every if one.values.get("path") == "torch.save"]
    if not distributed:
        for one in saves:
            one.values["every_rank"] = False
    if not collectives and not (saves and distributed):
        return
    first, second = _Rank(m, 0), _Rank(m, 1)
    if "raise" in (first.block(block), second.block(block)):
        return
    sided = [] if _undecided(first, second) else _one_sided(first, second)
    for one in sided:
        assumed = not (first.certain and second.certain)
        tell(block, "one_sided", one.place, assumed=assumed, call=one.values.get("operation", ""))
    if collectives and not sided:
        tell(block, "one_sided", collectives[0].place, says=False)
    both = {id(one) for one in first.seen} & {id(one) for one in second.seen}
    both -= first.doubtful | second.doubtful
    for one in saves if distributed else ():
        path = one.arguments[1] if len(one.arguments) > 1 else one.keywords.get("f")
        if path is not None:
            reached = id(one) in both and not _is_decorated(one)
            one.values["every_rank"] = reached and not rank_in(m, path)


def _is_decorated(one: Happening) -> bool:
    """Whether a decorator of the function around names the rank, as ``rank_zero_only``."""
    return any(
        _NAMES.search(syntax.unparse(part).split(".")[-1])
        for node in definitions_around(one.place.module.tree, one.place.node.lineno)
        if not isinstance(node, syntax.ClassDef)
        for part in node.decorator_list
    )


def _one_sided(first: _Rank, second: _Rank) -> list[Happening]:
    """Collectives that one side calls more often than the other, beside those of both."""
    sides = [[one for one in side.seen if _is_collective(one)] for side in (first, second)]
    counts = [Counter(one.values.get("operation") for one in side) for side in sides]
    found: list[Happening] = []
    for mine, theirs, count, other in (
        (sides[0], sides[1], counts[0], counts[1]),
        (sides[1], sides[0], counts[1], counts[0]),
    ):
        both = {id(one) for one in theirs}
        told: set[object] = set()
        for one in mine:
            operation = one.values.get("operation")
            more = count[operation] > other[operation] and id(one) not in both
            if more and operation not in told:
                told.add(operation)
                found.append(one)
    return found


def _undecided(first: _Rank, second: _Rank) -> bool:
    """Whether some collective may be called, or not, by a rank that is not known."""
    doubtful = first.doubtful | second.doubtful
    return any(id(one) in doubtful and _is_collective(one) for one in first.seen + second.seen)


def _is_collective(one: Happening) -> bool:
    group = one.keywords.get("group")
    return (
        one.kind == "dist.collective"
        and one.values.get("operation") not in _POINT_TO_POINT
        and (group is None or (isinstance(group, Const) and group.value is None))
    )
