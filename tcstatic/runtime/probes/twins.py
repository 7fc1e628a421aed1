"""Two schedules of one kind that drive one optimizer, while another of the program's has none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.stream import Stream

_LEAST_CALLS: Final = 2
# What a scheduler counts, and what it took from its optimizer.
_COUNTED: Final = frozenset(
    "optimizer base_lrs last_epoch verbose mode_worse best num_bad_epochs cooldown_counter".split()
)


@final
@dataclass(slots=True)
class _Schedule:
    """One schedule: what it drives, where it was made, its settings, how often it was stepped."""

    driven: Optimizer
    where: Location | None
    settings: tuple[Any, ...]
    calls: int = 0


@final
class Twins:
    """Compares the schedules of one process. State: `_known` by number, in the order in which they
    were made; `_others` all optimizers that were there when one was stepped."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._known: dict[int, _Schedule] = {}
        self._others: dict[int, Optimizer] = {}

    def made(self, scheduler: Any, driven: Optimizer, where: Location | None) -> None:
        """A schedule was made for an optimizer."""
        number = self._stream.registry.number(scheduler)
        if number not in self._known:
            self._known[number] = _Schedule(driven, where, _settings(scheduler))

    def stepped(self, scheduler: Any, others: Iterable[Optimizer]) -> None:
        """A schedule is about to be advanced."""
        one = self._known.get(self._stream.registry.number(scheduler))
        if one is not None:
            one.calls += 1
            if one.calls == _LEAST_CALLS:
                self._others.update({other.number: other for other in others})

    def settle(self) -> None:
        """The run ends: tell the schedule that was given the optimizer of the other."""
        mine = [one for one in self._known.values() if one.calls >= _LEAST_CALLS]
        everyone = [self._others[number] for number in sorted(self._others)]
        if len(mine) != 2 or len(everyone) != 2 or len(self._known) != 2:
            return
        first, second = mine
        free = [one for one in everyone if one is not first.driven]
        if first.driven is not second.driven or first.settings != second.settings:
            return
        if len(free) != 1 or free[0].rate_history.varied or not free[0].steps:
            return
        # As many as there are optimizers, and made in their order.
        wrong = mine[everyone.index(free[0])]
        subjects = {"optimizer": (wrong.driven.number,), "other": (free[0].number,)}
        values = {"type": wrong.driven.title, "drives_other": True, "left": free[0].title}
        self._stream.tell_of_run(wrong.where, subjects, values)


def _settings(scheduler: Any) -> tuple[Any, ...]:
    """The kind of a schedule, and all that it was made with."""
    found: list[Any] = [type(scheduler).__qualname__]
    for name, value in sorted(vars(scheduler).items()):
        if name in _COUNTED or name.startswith("_"):
            continue
        plain = isinstance(value, int | float | str | bool | type(None))
        code = [getattr(one, "__code__", None) for one in value] if name == "lr_lambdas" else None
        found.append((name, value if plain else str(code or value)))
    return tuple(found)
