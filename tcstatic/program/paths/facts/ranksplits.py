"""Random splits that each rank draws by a seed of its own, so that parts of ranks overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.ranks import rank_in
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.shuffled import shared_out
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Node, Object, Value, options
from tcstatic.program.paths.walking import inputs_of

_SEEDS: Final = frozenset("manual_seed seed_everything set_seed".split())
_DEEP: Final = 200


@surveys
def rank_splits(m: Machine, block: Block) -> None:
    """``split_by_rank`` of a random split whose numbers are drawn by the seed of a rank."""
    every = happenings(block)
    if not any(one.kind in ("dist.init", "wrap.new") for one in every):
        return
    seeds = [(value, one) for one in every if (value := _seed(one)) is not None]
    if not any(rank_in(m, value) for value, _ in seeds) or any(shared_out(block)):
        return  # what is shared out behind the split is told of already
    parts: dict[int, set[object]] = {}
    splits: dict[int, Node] = {}
    for loader in (one.result for one in every if one.kind == "loader.new"):
        for split, index in _parts_of(m, loader) if isinstance(loader, Object) else ():
            splits[split.number] = split
            parts.setdefault(split.number, set()).add(index)
    for number, split in splits.items():
        before = [value for value, _ in seeds if value.number < number]
        drawn = bool(before) and bool(rank_in(m, before[-1]))
        whole = "generator" not in split.keywords and len(split.inputs) == 2
        if drawn and whole and len(parts[number]) > 1 and split.place is not None:
            tell(block, "split_by_rank", split.place)


def _seed(one: Happening) -> Value | None:
    last = str(one.values.get("path", "")).rpartition(".")[2]
    torchs = str(one.values.get("path", "")).startswith("torch.")
    return one.arguments[0] if last in _SEEDS and torchs and one.arguments else None


def _parts_of(m: Machine, loader: Object) -> Iterator[tuple[Node, object]]:
    """The random splits that a loader, or its sampler, reads a part of."""
    waiting: list[Value] = [*loader.arguments, *loader.keywords.values()]
    seen: set[int] = set()
    while waiting and len(seen) < _DEEP:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Node) and one.op == "item" and len(one.inputs) == 2:
            split, index = one.inputs
            if isinstance(split, Node) and split.op == "random_split" and isinstance(index, Const):
                yield split, index.value
                continue
        waiting.extend(options(one, 4) if not isinstance(one, Node) else inputs_of(m, one))
