"""Abstract paths: the sequences in which a root's happenings may come about.

Branches whose conditions are equal decide alike; a loop is run not at all, once and twice. Only
what concerns the question asked is kept, so that few sequences are left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from tcstatic.program.paths.tree import (
    Block,
    Branch,
    Called,
    Exit,
    Happening,
    Loop,
    happenings,
)

MOST: Final = 240
# Which happenings concern the question, and how: certain, maybe, or any kind at all.
Concerns = Callable[[Happening], str]
_Decisions = frozenset[tuple[str, int, int]]


@final
@dataclass(frozen=True, slots=True)
class Path:
    """One way through a block: happenings with how they concern the question, the decisions that
    were taken on the way (key, birth, alternative), and how it ended ('' at its end). On a `full`
    path each loop went on to its second round, unless nothing but its own exit kept it from it."""

    steps: tuple[tuple[Happening, str], ...] = ()
    decisions: _Decisions = frozenset()
    ended: str = ""
    full: bool = True


@final
@dataclass(slots=True)
class Count:
    """Whether some paths had to be left out."""

    cut: bool = False


def paths(block: Block, concerns: Concerns) -> tuple[list[Path], bool]:
    """The ways through a root, and whether that is all of them."""
    count = Count()
    found = _block(block, concerns, frozenset(), count)
    unique: dict[object, Path] = {}
    for path in found:
        key = (path.steps, path.ended)
        if path.full or key not in unique:
            unique[key] = path
    return list(unique.values()), not count.cut


def _block(block: Block, concerns: Concerns, decided: _Decisions, count: Count) -> list[Path]:
    found = [Path((), decided)]
    for step in block.steps:
        if not _matters(step, concerns):
            continue
        longer: list[Path] = []
        for path in found:
            if path.ended:
                longer.append(path)
            else:
                longer += [_joined(path, more) for more in _step(step, concerns, path, count)]
        found = list(dict.fromkeys(longer))
        if len(found) > MOST:
            count.cut = True
            found = found[:MOST]
    return found


def _joined(path: Path, more: Path) -> Path:
    full = path.full and more.full
    return Path(path.steps + more.steps, more.decisions, more.ended, full)


def _matters(step: object, concerns: Concerns) -> bool:
    if isinstance(step, Happening):
        return bool(concerns(step))
    if isinstance(step, Exit):
        return True
    if isinstance(step, Branch):
        return any(_holds_something(one, concerns) for one in step.alternatives)
    assert isinstance(step, Loop | Called)
    return any(concerns(one) for one in happenings(step.body)) or _stops(step.body)


def _holds_something(block: Block, concerns: Concerns) -> bool:
    return any(_matters(step, concerns) for step in block.steps)


def _stops(block: Block) -> bool:
    for step in block.steps:
        if isinstance(step, Exit) and step.kind in ("raise", "stop"):
            return True
        if isinstance(step, Branch) and any(_stops(one) for one in step.alternatives):
            return True
        if isinstance(step, Loop | Called) and _stops(step.body):
            return True
    return False


def _step(step: object, concerns: Concerns, path: Path, count: Count) -> list[Path]:
    if isinstance(step, Happening):
        return [Path(((step, concerns(step)),), path.decisions)]
    if isinstance(step, Exit):
        return [Path((), path.decisions, step.kind)]
    if isinstance(step, Branch):
        return _branch(step, concerns, path, count)
    if isinstance(step, Loop):
        return _loop(step, concerns, path, count)
    assert isinstance(step, Called)
    inner = _block(step.body, concerns, path.decisions, count)
    return [
        dataclasses.replace(one, ended="" if one.ended == "return" else one.ended) for one in inner
    ]


def _branch(step: Branch, concerns: Concerns, path: Path, count: Count) -> list[Path]:
    taken = {key: which for key, _, which in path.decisions} if step.key else {}
    found: list[Path] = []
    for which, alternative in enumerate(step.alternatives):
        if step.key and taken.get(step.key, which) != which:
            continue
        decided = path.decisions
        if step.key:
            decided = decided | {(step.key, step.birth, which)}
        found += _block(alternative, concerns, decided, count)
    return found


def _loop(step: Loop, concerns: Concerns, path: Path, count: Count) -> list[Path]:
    once = _round(step, concerns, path.decisions, count)
    found = [] if step.certain else [Path((), path.decisions, full=False)]
    leaves = all(one.ended for one in once)
    for one in once:
        if one.ended:
            found.append(dataclasses.replace(_after(one), full=one.full and leaves))
            continue
        found.append(dataclasses.replace(one, full=False))
        for two in _round(step, concerns, one.decisions, count):
            found.append(_after(_joined(one, two)))
    unique = list(dict.fromkeys(found))
    if len(unique) > MOST:
        count.cut = True
    return unique[:MOST]


def _after(path: Path) -> Path:
    return dataclasses.replace(path, ended="" if path.ended == "break" else path.ended)


def _round(step: Loop, concerns: Concerns, decided: _Decisions, count: Count) -> list[Path]:
    found = []
    for one in _block(step.body, concerns, decided, count):
        kept = frozenset(d for d in one.decisions if d[1] < step.begun)
        ended = "" if one.ended == "continue" else one.ended
        found.append(Path(one.steps, kept, ended, one.full))
    return list(dict.fromkeys(found))
