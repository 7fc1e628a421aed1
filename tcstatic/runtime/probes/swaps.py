"""An optimizer that was given the parameters of another one, while a model has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from typing import Any, Final, final

from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_LEAST_TURNS: Final = 3


@final
class Swaps:
    """Follows the steps of one process that find gradients which nobody applies.

    State: `_turns` how often each optimizer stepped when another one had, `_steps` how often in
    all, as far as that was watched, `_missed` how often the backward right before its step reached
    parameters that nobody holds; `_last` who stepped last.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._turns: Counter[int] = Counter()
        self._steps: Counter[int] = Counter()
        self._missed: Counter[int] = Counter()
        self._known: dict[int, Optimizer] = {}
        self._last = 0

    def stepped(self, optimizer: Optimizer, *, missed: bool) -> None:
        """An optimizer steps; `missed`: the last backward reached parameters that nobody holds."""
        number = optimizer.number
        self._known[number] = optimizer
        self._turns[number] += number != self._last
        self._steps[number] += 1
        self._missed[number] += missed
        self._last = number

    def settle(self, models: Iterable[Any], left: dict[int, Any]) -> None:
        """The run ends; `left` are parameters by ``id`` that got a gradient in every round, are in
        no optimizer, and never moved; `models` those that backward reached."""
        whole = [one for one in models if _is_left(one, left)]
        alive = [one for one in self._known.values() if one.stock and one.thing() is not None]
        for first, second in combinations(alive, 2) if whole else ():
            if first.title != second.title or not self._take_turns(first, second):
                continue
            if set(map(id, first.parameters())) != set(map(id, second.parameters())):
                continue
            wrong, right = (first, second) if self._misses(first) else (second, first)
            if not self._misses(wrong) or not self._hits(right):
                continue
            names = ", ".join(dict.fromkeys(type(one).__name__ for one in whole))
            place = f" built at {right.where.file}:{right.where.line}" if right.where else ""
            values = {
                "type": wrong.title,
                "given_others": True,
                "left": names,
                "other": f"the {right.title}{place}",
            }
            subjects = {"optimizer": (wrong.number,), "other": (right.number,)}
            self._stream.tell_of_run(wrong.where, subjects, values)
            return

    def _take_turns(self, first: Optimizer, second: Optimizer) -> bool:
        return min(self._turns[first.number], self._turns[second.number]) >= _LEAST_TURNS

    def _misses(self, optimizer: Optimizer) -> bool:
        """Whether it steps from losses that are made by the model that is left."""
        return self._missed[optimizer.number] * 2 > self._steps[optimizer.number]

    def _hits(self, optimizer: Optimizer) -> bool:
        """Whether it steps from losses that hardly ever reach that model."""
        return self._missed[optimizer.number] * 10 < self._steps[optimizer.number]


def _is_left(model: Any, left: dict[int, Any]) -> bool:
    wanted = [one for one in model.parameters() if one.requires_grad]
    return bool(wanted) and all(id(one) in left for one in wanted)
