"""Abstract paths: the sequences in which a root's happenings may come about.

Branches whose conditions are equal decide alike; a loop is run not at all, once and twice. Only
what concerns the question asked is kept, so that few sequences are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, final

from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop, Step

MOST: Final = 240
# Joins of paths that one question may cost: about 10 ms.
EFFORT: Final = 12_000
# Which happenings concern the question, and how: certain, maybe, or any kind at all.
Concerns = Callable[[Happening], str]
_Decisions = frozenset[tuple[str, int, int]]
_NONE: Final[_Decisions] = frozenset()


@final
class Path(NamedTuple):
    """One way through a block: happenings with how they concern the question, the decisions that
    were taken on the way (key, birth, alternative), and how it ended ('' at its end). On a `full`
    path each loop went on to its second round, unless nothing but its own exit kept it from it."""

    steps: tuple[tuple[Happening, str], ...] = ()
    decisions: _Decisions = _NONE
    ended: str = ""
    full: bool = True


class _TooMany(Exception):
    """There are more ways than are gone through one by one."""


def paths(block: Block, concerns: Concerns) -> list[Path] | None:
    """The ways through a root; None where there are too many."""
    unique: dict[object, Path] = {}
    try:
        found = _Walk(concerns).root(block)
    except _TooMany:
        return None
    for path in found:
        key = (path.steps, path.ended)
        if path.full or key not in unique:
            unique[key] = path
    return list(unique.values())


@final
class _Walk:
    """State: what of each block concerns the question, the ways through a step by the decisions
    taken before it, and the effort left. Raises _TooMany."""

    def __init__(self, concerns: Concerns) -> None:
        self._concerns = concerns
        self._kept: dict[int, list[Step]] = {}
        self._known: dict[tuple[int, _Decisions], list[Path]] = {}
        self._asked: Counter[str] = Counter()
        self._left = EFFORT

    def root(self, block: Block) -> list[Path]:
        """The ways through a root."""
        self._count(block, 0)
        return self.block(block, _NONE)

    def _count(self, block: Block, begun: int) -> None:
        """Count how often each condition is asked: one asked once need not be remembered.

        A condition older than the loop around it (`begun`) is asked again in each round.
        """
        for step in self._relevant(block):
            if isinstance(step, Branch):
                self._asked[step.key] += 1 + (step.birth < begun)
                for one in step.alternatives:
                    self._count(one, begun)
            elif isinstance(step, Loop | Called):
                self._count(step.body, step.begun if isinstance(step, Loop) else begun)

    def block(self, block: Block, decided: _Decisions) -> list[Path]:
        """The ways through a block."""
        found = [Path((), decided)]
        for step in self._relevant(block):
            longer: list[Path] = []
            for path in found:
                if path.ended:
                    longer.append(path)
                else:
                    longer += [_joined(path, more) for more in self._step(step, path.decisions)]
            found = list(dict.fromkeys(longer))
            self._left -= len(longer)
            if len(found) > MOST or self._left < 0:
                raise _TooMany
        return found

    def _relevant(self, block: Block) -> list[Step]:
        """The steps of a block that concern the question, or that leave it."""
        kept = self._kept.get(id(block))
        if kept is None:
            kept = [step for step in block.steps if self._matters(step)]
            if all(isinstance(step, Exit) and step.kind == "raise" for step in kept):
                kept = []  # a path that only complains and ends tells nothing
            self._kept[id(block)] = kept
        return kept

    def _matters(self, step: Step) -> bool:
        if isinstance(step, Happening):
            return bool(self._concerns(step))
        if isinstance(step, Exit):
            return True
        if isinstance(step, Branch):
            return any([bool(self._relevant(one)) for one in step.alternatives])
        return self._tells(step.body)

    def _tells(self, block: Block) -> bool:
        """Whether a body holds more than its own exits."""
        for step in self._relevant(block):
            if isinstance(step, Branch):
                if any(self._tells(one) for one in step.alternatives):
                    return True
            elif not isinstance(step, Exit) or step.kind == "stop":
                return True
        return False

    def _step(self, step: Step, decided: _Decisions) -> list[Path]:
        if isinstance(step, Happening):
            return [Path(((step, self._concerns(step)),), decided)]
        if isinstance(step, Exit):
            return [Path((), decided, step.kind)]
        key = (id(step), decided)
        known = self._known.get(key)
        if known is None:
            if isinstance(step, Branch):
                known = self._branch(step, decided)
            elif isinstance(step, Loop):
                known = self._loop(step, decided)
            else:
                known = self._called(step, decided)
            self._known[key] = known
        return known

    def _called(self, step: Called, decided: _Decisions) -> list[Path]:
        return [
            one._replace(ended="") if one.ended == "return" else one
            for one in self.block(step.body, decided)
        ]

    def _branch(self, step: Branch, decided: _Decisions) -> list[Path]:
        taken = {key: which for key, _, which in decided} if step.key else {}
        found: list[Path] = []
        for which, alternative in enumerate(step.alternatives):
            if step.key and taken.get(step.key, which) != which:
                continue
            kept = step.key and self._asked[step.key] > 1
            after = decided | {(step.key, step.birth, which)} if kept else decided
            found += self.block(alternative, after)
        return list(dict.fromkeys(found))

    def _loop(self, step: Loop, decided: _Decisions) -> list[Path]:
        once = self._round(step, decided)
        if step.once:
            return [_after(one) for one in once]
        found = [] if step.certain else [Path((), decided, full=False)]
        leaves = all(one.ended for one in once)
        for one in once:
            self._left -= len(once)
            if one.ended:
                found.append(_after(one)._replace(full=one.full and leaves))
                continue
            found.append(one._replace(full=False))
            found += [_after(_joined(one, two)) for two in self._round(step, one.decisions)]
        unique = list(dict.fromkeys(found))
        if len(unique) > MOST:
            raise _TooMany
        return unique

    def _round(self, step: Loop, decided: _Decisions) -> list[Path]:
        found = []
        for one in self.block(step.body, decided):
            kept = frozenset(d for d in one.decisions if d[1] < step.begun)
            ended = "" if one.ended == "continue" else one.ended
            found.append(Path(one.steps, kept, ended, one.full))
        return list(dict.fromkeys(found))


def _joined(path: Path, more: Path) -> Path:
    if not more.steps and more.full and not more.ended:
        return path._replace(decisions=more.decisions)
    full = path.full and more.full
    return Path(path.steps + more.steps, more.decisions, more.ended, full)


def _after(path: Path) -> Path:
    return path._replace(ended="") if path.ended == "break" else path
