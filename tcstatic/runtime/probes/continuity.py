"""Whether weights, gradients and states stay as they are while nothing is meant to change them.

Where copies on two ranks parted, that alone does not tell which of them is wrong. A rank whose
gradient is another when the step uses it than when the backward was over, or whose weight or state
changed between two steps, was written to by something that the other rank has not seen: a library,
a thread, a faulty card. What all ranks do alike says nothing, so that no rule is needed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.runtime.probes import measure

WEIGHT, GRADIENT, STATE, COUNT, RATE = "weight", "gradient", "state", "count", "rate"
BUFFER, GONE = "buffer", "gone"
RATES: Final = "the learning rate"
MISSING: Final = -1.0  # of what could not be read
Named = Sequence[tuple[str, Any]]


@final
@dataclass(frozen=True, slots=True)
class Left:
    """Tensors of some names, as they are at one moment: numbers of theirs, and how often torch has
    written to each."""

    names: list[str]
    numbers: measure.Pending
    versions: list[int]


@final
class Continuity:
    """Holds the norms of what was left against those of what is found, on one rank.

    Both are read on the device; nothing waits until `changed`. A change that moves the norm by less
    than its own precision does not show. State: `_left` by kind, `_pairs` what was held together,
    `_rates` those of a backward, `_noted` what is known to have
    changed. `by_torch`: what of all that changed torch itself has written to, for whoever asked it.
    """

    def __init__(self) -> None:
        self._left: dict[str, Left] = {}
        self._pairs: list[tuple[str, Left, Left]] = []
        self._rates: Sequence[float | None] = ()
        self._noted: dict[str, str] = {}
        self.by_torch: set[str] = set()

    def backward_begins(self, rates: Sequence[float | None]) -> None:
        """A backward begins, for a step at these learning rates."""
        self._rates = rates

    def step_begins(self, rates: Sequence[float | None]) -> None:
        """A step begins, or what comes just before it, at these learning rates."""
        if self._rates and self._rates != rates:
            self._noted[RATES] = RATE
        self._rates = ()

    def leaves(self, kind: str, tensors: Named) -> None:
        """What was to change these is over."""
        if tensors:
            self._left[kind] = _as_they_are(kind, tensors)

    def finds(self, kind: str, tensors: Named) -> None:
        """These are about to be used, or changed as they are meant to be."""
        left = self._left.pop(kind, None)
        if left is None:
            return
        names = [name for name, _ in tensors]
        if names == left.names:
            self._pairs.append((kind, left, _as_they_are(kind, tensors)))
        elif kind == STATE:
            self._noted.update((name, GONE) for name in left.names if name not in names)

    def changed(self) -> dict[str, str]:
        """Return, by name, the kind of what changed since this was asked last."""
        pairs, self._pairs = self._pairs, []
        found, self._noted = self._noted, {}
        self.by_torch = set()
        for kind, left, now in pairs:
            values = zip(left.numbers.values(), now.numbers.values(), strict=True)
            for at, (old, new) in enumerate(values):
                if old != new and (old == old or new == new) and MISSING not in (old, new):
                    name = left.names[at]
                    found.setdefault(name, kind)
                    if left.versions[at] != now.versions[at]:
                        self.by_torch.add(name)
        return found

    def forget(self) -> None:
        """Steps go by unwatched."""
        self._left, self._pairs, self._rates, self._noted = {}, [], (), {}


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


def _as_they_are(kind: str, tensors: Named) -> Left:
    read = measure.gathered if kind == COUNT else measure.norms
    these = [one for _, one in tensors]
    return Left([name for name, _ in tensors], read(these), [_version(one) for one in these])


def _version(tensor: Any) -> int:
    """How often torch has written to a tensor, or to this rank's part; 0 where nobody counts."""
    part = getattr(tensor, "_local_tensor", tensor)
    return 0 if part is None or part.is_inference() else int(part._version)
