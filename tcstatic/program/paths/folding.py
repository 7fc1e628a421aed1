"""A question asked of all paths at once, where there are too many to go through one by one.

What is carried along a path is a state, not the path: paths that arrive in the same state, with
the same decisions taken, go on as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple, final

from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop, Step

# States that are carried side by side.
MOST: Final = 400
_Decisions = frozenset[tuple[str, int, int]]


@final
class End(NamedTuple):
    """Where some paths are: in a state, with decisions taken, having left their block or not. On
    a `full` path each loop went on to its second round."""

    state: Hashable
    decisions: _Decisions = frozenset()
    ended: str = ""
    full: bool = True


@final
class Fold:
    """One question. State: which steps matter to it, and how many more may be taken (`left`; about
    20 us each)."""

    def __init__(
        self,
        concerns: Callable[[Happening], bool],
        advance: Callable[[Happening, Hashable], Hashable],
        effort: int,
    ) -> None:
        self._concerns = concerns
        self._advance = advance
        self._kept: dict[int, list[Step]] = {}
        self._asked: Counter[str] = Counter()
        self._known: dict[tuple[int, End], list[End]] = {}
        self.left = effort
        self.cut = False

    def run(self, block: Block, start: Hashable) -> list[End]:
        """Return where all paths through a root end that begin in a state."""
        self._count(block, 0)
        return self._block(block, [End(start)])

    def _block(self, block: Block, ends: list[End]) -> list[End]:
        for step in self._relevant(block):
            left = [end for end in ends if end.ended]
            for end in ends:
                if not end.ended:
                    left += self._step(step, end)
            ends = list(dict.fromkeys(left))
            self.left -= len(left)
            if len(ends) > MOST or self.left < 0:
                self.cut = True
                ends = ends[: MOST if self.left > 0 else 1]
        return ends

    def _step(self, step: Step, end: End) -> list[End]:
        if isinstance(step, Happening):
            return [end._replace(state=self._advance(step, end.state))]
        if isinstance(step, Exit):
            return [end._replace(ended=step.kind)]
        known = self._known.get((id(step), end))
        if known is None:
            if isinstance(step, Branch):
                known = self._branch(step, end)
            elif isinstance(step, Loop):
                known = self._loop(step, end)
            else:
                known = self._called(step, end)
            self._known[id(step), end] = known
        return known

    def _called(self, step: Called, end: End) -> list[End]:
        return [
            one._replace(ended="") if one.ended == "return" else one
            for one in self._block(step.body, [end])
        ]

    def _branch(self, step: Branch, end: End) -> list[End]:
        taken = {key: which for key, _, which in end.decisions} if step.key else {}
        kept = step.key and self._asked[step.key] > 1
        found: list[End] = []
        for which, alternative in enumerate(step.alternatives):
            if step.key and taken.get(step.key, which) != which:
                continue
            decided = end.decisions | {(step.key, step.birth, which)} if kept else end.decisions
            found += self._block(alternative, [end._replace(decisions=decided)])
        return list(dict.fromkeys(found))

    def _loop(self, step: Loop, end: End) -> list[End]:
        once = self._round(step, end)
        if step.once:
            return [_after(one) for one in once]
        found = [] if step.certain else [end._replace(full=False)]
        leaves = all(one.ended for one in once)
        for one in once:
            if one.ended:
                found.append(_after(one)._replace(full=one.full and leaves))
            else:
                found.append(one._replace(full=False))
                found += [_after(two) for two in self._round(step, one)]
        return list(dict.fromkeys(found))

    def _round(self, step: Loop, end: End) -> list[End]:
        found = []
        for one in self._block(step.body, [end]):
            kept = frozenset(d for d in one.decisions if d[1] < step.begun)
            ended = "" if one.ended == "continue" else one.ended
            found.append(one._replace(decisions=kept, ended=ended))
        return list(dict.fromkeys(found))

    def _relevant(self, block: Block) -> list[Step]:
        kept = self._kept.get(id(block))
        if kept is None:
            kept = [step for step in block.steps if self._matters(step)]
            if all(isinstance(step, Exit) and step.kind == "raise" for step in kept):
                kept = []  # a path that only complains and ends tells nothing
            self._kept[id(block)] = kept
        return kept

    def _matters(self, step: Step) -> bool:
        if isinstance(step, Happening):
            return self._concerns(step)
        if isinstance(step, Exit):
            return True
        if isinstance(step, Branch):
            return any([bool(self._relevant(one)) for one in step.alternatives])
        return self._tells(step.body)

    def _tells(self, block: Block) -> bool:
        for step in self._relevant(block):
            if isinstance(step, Branch):
                if any(self._tells(one) for one in step.alternatives):
                    return True
            elif not isinstance(step, Exit) or step.kind == "stop":
                return True
        return False

    def _count(self, block: Block, begun: int) -> None:
        for step in self._relevant(block):
            if isinstance(step, Branch):
                self._asked[step.key] += 1 + (step.birth < begun)
                for one in step.alternatives:
                    self._count(one, begun)
            elif isinstance(step, Loop | Called):
                self._count(step.body, step.begun if isinstance(step, Loop) else begun)


def _after(end: End) -> End:
    return end._replace(ended="") if end.ended == "break" else end
