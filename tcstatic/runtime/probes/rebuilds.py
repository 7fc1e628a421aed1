"""Optimizers that are made anew for each pass over the same data, and lose their state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_LEAST_STEPS: Final = 2  # of each, where it is made for an epoch and not for a batch
_LEAST_LIVES: Final = 2  # that are over, each of them one pass
# Without momentum, or with a memory of their own making, a new one is as good as the old.
_OTHERS: Final = frozenset({"LBFGS"})


@final
@dataclass(slots=True)
class _Line:
    """The optimizers made at one place: the last one, with how many passes were over when it was
    made; how many before it lived for one pass each, over `loader`."""

    last: Optimizer
    settings: tuple[Any, ...]
    passes: int
    lives: int = 0
    loader: int = 0
    told: bool = False


@final
class Rebuilds:
    """Follows the optimizers of one process. State: `_lines` by the place where they are made,
    `_seen` their numbers; `passes` the loaders that were gone over in training, one a pass."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lines: dict[tuple[str, int], _Line] = {}
        self._seen: set[int] = set()
        self.passes: list[int] = []

    def made(self, optimizer: Optimizer, where: Location) -> None:
        """A call has returned an optimizer; the first that does so has made it."""
        if optimizer.number in self._seen or not optimizer.stock or optimizer.title in _OTHERS:
            return
        self._seen.add(optimizer.number)
        key = (where.file, where.line)
        line, settings = self._lines.get(key), _settings(optimizer)
        if line is None or line.settings != settings:
            self._lines[key] = _Line(optimizer, settings, len(self.passes))
            return
        since = self.passes[line.passes :]
        alone = len(since) == 1 and line.last.steps >= _LEAST_STEPS
        if alone and line.loader in (0, since[0]) and _goes_on(line.last, optimizer):
            line.loader, line.lives = since[0], line.lives + 1
        else:
            line.loader = line.lives = 0
        line.last, line.passes = optimizer, len(self.passes)
        if line.lives >= _LEAST_LIVES and not line.told:
            line.told = True
            self._tell(optimizer, where)

    def _tell(self, optimizer: Optimizer, where: Location) -> None:
        values = {"type": optimizer.title, "made_each_pass": True}
        subjects = {"optimizer": (optimizer.number,)}
        self._stream.tell_of_run(where, subjects, values)


def _goes_on(last: Optimizer, new: Optimizer) -> bool:
    """Whether the weights are those that the last step of the one before has left."""
    parameters: Sequence[Any] = new.parameters()
    left = last.last
    return left is not None and left[0] == [parameter._version for parameter in parameters]


def _settings(optimizer: Optimizer) -> tuple[Any, ...]:
    """What an optimizer is, steps and is set to; a plain one has nothing to lose."""
    thing = optimizer.thing()
    defaults = sorted((name, str(value)) for name, value in thing.defaults.items())
    stateless = optimizer.title == "SGD" and not thing.defaults.get("momentum")
    held = tuple((id(one), one.requires_grad) for one in optimizer.parameters())
    return (optimizer.title, defaults, held, optimizer.number if stateless else 0)
