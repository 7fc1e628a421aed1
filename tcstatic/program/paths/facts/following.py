"""A state that happenings change, followed along all ways through a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop

# What may have set something last; None is how it was at the start.
State = frozenset[Happening | None]
Update = Callable[[Happening, State], State]


def follow(block: Block, update: Update, *, unset: bool = False) -> None:
    """Tell `update` each happening with the state before it; it returns the state behind it. The
    bodies of loops are followed twice. With `unset`, a call of one of several objects that puts
    one of them back to how it was at the start does so whichever it is: it is the one that is used
    behind the call."""
    _Following(update, unset).block(block, frozenset({None}))


@final
class _Following:
    """State: where paths go that leave a function or a loop early."""

    def __init__(self, update: Update, unset: bool) -> None:
        self._update = update
        self._unset = unset
        self._returns: list[list[State]] = []
        self._leaves: list[list[State]] = []

    def block(self, block: Block, state: State) -> State:
        left = ""
        for step in block.steps:
            if isinstance(step, Exit):
                left = left or step.kind
            else:
                state = self._step(step, state)
        if not left:
            return state
        # behind an exit, only what a finally clause does was written
        target = self._returns if left == "return" else self._leaves
        if left in ("return", "break", "continue") and target:
            target[-1].append(state)
        return frozenset()

    def _step(self, step: Happening | Branch | Loop | Called, state: State) -> State:
        if isinstance(step, Happening):
            return self._update(step, state) if state else state
        if isinstance(step, Branch):
            ends = [self.block(one, state) for one in step.alternatives]
            start: State = frozenset({None})
            if self._unset and step.whose and start in ends:
                return start
            return frozenset[Happening | None]().union(*ends)
        if isinstance(step, Called):
            self._returns.append([])
            after = self.block(step.body, state)
            return after.union(*self._returns.pop())
        self._leaves.append([])
        once = self.block(step.body, state)
        once = once.union(*self._leaves[-1])
        twice = self.block(step.body, once)
        after = once.union(twice, *self._leaves.pop())
        return after if step.certain else state | after
