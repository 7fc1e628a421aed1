"""Whether weights, gradients and states stay as they are while nothing is meant to change them.

Where copies on two ranks parted, that alone does not tell which of them is wrong. A rank whose
gradient is another when the step uses it than when the backward was over, or whose weight or state
changed between two steps, was written to by something that the other rank has not seen: a library,
a thread, a faulty card. What all ranks do alike says nothing, so that no rule is needed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, final

from tcstatic.runtime.probes import measure

WEIGHT, GRADIENT, STATE, COUNT, RATE = "weight", "gradient", "state", "count", "rate"
BUFFER, SEED = "buffer", "seed"
RATES, SEEDS = "the learning rate", "the seed of random numbers"
MISSING: Final = -1.0  # of what could not be read
Named = Sequence[tuple[str, Any]]


@final
class Continuity:
    """Holds the norms of what was left against those of what is found, on one rank.

    Both are read on the device; nothing waits until `changed`. A change that moves the norm by less
    than its own precision does not show. State: `_left` by kind, `_pairs` what was held together,
    `_rates` those of a backward, `_seed` that of random numbers, `_noted` what is known to have
    changed.
    """

    def __init__(self) -> None:
        self._left: dict[str, tuple[list[str], measure.Pending]] = {}
        self._pairs: list[tuple[str, list[str], measure.Pending, measure.Pending]] = []
        self._rates: Sequence[float | None] = ()
        self._seed: int | None = None
        self._noted: dict[str, str] = {}

    def backward_begins(self, rates: Sequence[float | None]) -> None:
        """A backward begins, for a step at these learning rates."""
        self._rates = rates

    def step_begins(self, rates: Sequence[float | None]) -> None:
        """A step begins, or what comes just before it, at these learning rates."""
        if self._rates and self._rates != rates:
            self._noted[RATES] = RATE
        self._rates = ()

    def draws_by(self, seed: int) -> None:
        """Random numbers are drawn by this seed."""
        if self._seed not in (None, seed):
            self._noted[SEEDS] = SEED
        self._seed = seed

    def leaves(self, kind: str, tensors: Named) -> None:
        """What was to change these is over."""
        if tensors:
            self._left[kind] = _numbers(kind, tensors)

    def finds(self, kind: str, tensors: Named) -> None:
        """These are about to be used, or changed as they are meant to be."""
        left = self._left.pop(kind, None)
        if left is not None and [name for name, _ in tensors] == left[0]:
            self._pairs.append((kind, left[0], left[1], _numbers(kind, tensors)[1]))

    def changed(self) -> dict[str, str]:
        """Return, by name, the kind of what changed since this was asked last."""
        pairs, self._pairs = self._pairs, []
        found, self._noted = self._noted, {}
        for kind, names, left, now in pairs:
            for name, old, new in zip(names, left.values(), now.values(), strict=True):
                if old != new and (old == old or new == new) and MISSING not in (old, new):
                    found.setdefault(name, kind)
        return found

    def forget(self) -> None:
        """Steps go by unwatched."""
        self._left, self._pairs, self._rates, self._noted = {}, [], (), {}
        self._seed = None


def states(
    parameters: Named, optimizers: Iterable[Any]
) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """Return what optimizers keep of some parameters, under the parameter's name: the tensors, and
    the single numbers, such as counts of steps."""
    kept = [getattr(one, "state", None) for one in optimizers]
    found = [
        (name, value)
        for name, parameter in parameters
        for one in kept
        if isinstance(one, dict) and parameter in one and isinstance(one[parameter], dict)
        for value in one[parameter].values()
        if hasattr(value, "is_floating_point")
    ]
    return [one for one in found if one[1].dim()], [one for one in found if not one[1].dim()]


def _numbers(kind: str, tensors: Named) -> tuple[list[str], measure.Pending]:
    read = measure.gathered if kind == COUNT else measure.norms
    return [name for name, _ in tensors], read([one for _, one in tensors])
