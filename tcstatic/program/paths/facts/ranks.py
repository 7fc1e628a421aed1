"""What only some of the ranks do: collectives, and files that are saved."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, final

from tcstatic.program.paths.conditions import unflipped
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop, happenings
from tcstatic.program.paths.values import Bound, Const, External, Node, Object, Unknown, Value
from tcstatic.program.paths.walking import inputs_of

_RANKS: Final = frozenset({"dist.get_rank", "dist.get_node_local_rank", "dist.get_group_rank"})
_NAMES: Final = re.compile(
    r"(^|_)(rank|is_main|is_master|is_primary|main_process|rank_?zero|rank0|local_master)|^master_",
    re.IGNORECASE,
)
_POINT_TO_POINT: Final = frozenset(
    "send recv isend irecv batch_isend_irecv send_object_list recv_object_list".split()
)
_SPLITTERS: Final = frozenset(
    {"DistributedDataParallel", "FullyShardedDataParallel", "DDP", "FSDP"}
)
_DEEPEST: Final = 200


def rank_in(m: Machine, value: Value, *, deep: bool = True) -> str:
    """``known`` if the rank is behind a value, ``named`` if only its name says so, else ''; with
    `deep`, behind what data was made of as well."""
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
    texts = [p.value for p in one.inputs if isinstance(p, Const) and isinstance(p.value, str)]
    holder = one.op.startswith("os.") or any(
        isinstance(p, External) and p.path.startswith("os.") for p in one.inputs
    )
    return holder and any(text in ("RANK", "LOCAL_RANK", "SLURM_PROCID") for text in texts)


def _is_named(one: Value) -> bool:
    if isinstance(one, Unknown | Bound):
        return bool(_NAMES.search(one.name))
    return isinstance(one, Node) and ":" in one.op and bool(_NAMES.search(one.op.split(":")[-1]))


def _key(value: Value, depth: int = 0) -> str:
    """A name for a condition under which the rank is always the same one."""
    if isinstance(value, Node):
        if value.op in _RANKS or _from_environment(value):
            return "rank"
        if depth < 8:
            inner = ",".join(_key(part, depth + 1) for part in value.inputs)
            return f"{value.op}({inner})"
    if isinstance(value, Const):
        return repr(value.value)
    return f"#{value.number}"


@final
@dataclass(slots=True)
class _Ranks:
    """What happens where the condition `key` is `truth`; `seen` is written in order."""

    guards: dict[int, tuple[str, bool]]
    key: str
    truth: bool
    seen: list[Happening] = field(default_factory=list)

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
        key, flipped = self.guards.get(id(step), ("", False))
        if key == self.key and len(step.alternatives) == 2:
            return self.block(step.alternatives[0 if self.truth != flipped else 1])
        for one in step.alternatives:
            self.block(one)
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
    saves = [one for one in every if one.values.get("path") == "torch.save"] if distributed else []
    if not collectives and not saves:
        return
    guards = _guards(m, block)
    guarded: set[int] = set()
    for key, certain in sorted({(key, certain) for key, _, certain in guards.values()}):
        plain = {number: (text, flipped) for number, (text, flipped, _) in guards.items()}
        sides = [_Ranks(plain, key, truth) for truth in (True, False)]
        ends = [side.block(block) for side in sides]
        if "raise" in ends:
            continue
        guarded |= {id(s) for s in sides[0].seen} ^ {id(s) for s in sides[1].seen}
        for one in _one_sided(*sides):
            block.steps.append(_told(one, certain))
    for one in saves:
        path = one.arguments[1] if len(one.arguments) > 1 else one.keywords.get("f")
        if path is not None:
            one.values["every_rank"] = id(one) not in guarded and not rank_in(m, path)


def _told(one: Happening, certain: bool) -> Happening:
    values = {"one_sided": True, "call": one.values.get("operation", "")}
    return Happening("call", one.place, {}, assumed=not certain, values=values)


def _guards(m: Machine, block: Block) -> dict[int, tuple[str, bool, bool]]:
    """The branches that ask for the rank: by which name, negated or not, for certain or not."""
    found: dict[int, tuple[str, bool, bool]] = {}
    waiting = [block]
    while waiting:
        for step in waiting.pop().steps:
            if isinstance(step, Branch):
                waiting.extend(step.alternatives)
                asked = rank_in(m, step.condition, deep=False) if step.condition is not None else ""
                if asked and step.condition is not None:
                    # alternatives are those of the condition without negations already
                    plain, _ = unflipped(step.condition)
                    found[id(step)] = (_key(plain), False, asked == "known")
            elif isinstance(step, Loop | Called):
                waiting.append(step.body)
    return found


def _one_sided(first: _Ranks, second: _Ranks) -> list[Happening]:
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


def _is_collective(one: Happening) -> bool:
    group = one.keywords.get("group")
    return (
        one.kind == "dist.collective"
        and one.values.get("operation") not in _POINT_TO_POINT
        and (group is None or (isinstance(group, Const) and group.value is None))
    )
