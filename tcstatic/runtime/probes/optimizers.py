"""Optimizers: what a step finds, and what it does to the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, final

from tcstatic.model import Event, Location, Member
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.ledger import Ledger
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.registry import Registry

_EPSILON: Final = {"torch.float64": 2.3e-16, "torch.float32": 1.2e-7, "torch.float16": 9.8e-4}
_EPSILON_OTHER: Final = 7.9e-3  # bfloat16, and a safe guess for anything narrower


@final
class Optimizer:
    """One optimizer of the program: torch's own, or the updates a user writes by hand.

    State: `steps` its outermost steps so far; `ledger` its gradients; `suspects` parameter number
    -> step since which it looks unchanged; `copies` bitwise copies over the step in progress;
    `starved` how many steps in a row found no gradient at all.
    """

    def __init__(self, number: int, thing: Any, where: Location | None, *, manual: bool = False) -> None:
        self.number = number
        self.thing = thing
        self.where = where
        self.manual = manual
        self.steps = 0
        self.ledger = Ledger()
        self.suspects: dict[int, int] = {}
        self.copies = measure.Copies()
        self.starved = 0
        self.starved_since = 0
        self.clipped_live = False
        self.before: Snapshot | None = None
        self.live: Sequence[Any] = ()

    @property
    def title(self) -> str:
        """The name of its class, for people."""
        return "hand-written update" if self.manual else type(self.thing()).__name__

    def pairs(self) -> list[tuple[Any, float | None]]:
        """Return (parameter, learning rate); a rate that sits on a device is not read."""
        if self.manual:
            return [(parameter, None) for parameter in self.live]
        thing = self.thing()
        found = []
        for group in getattr(thing, "param_groups", ()):
            rate = _rate(group.get("lr"))
            found.extend((parameter, rate) for parameter in group.get("params", ()))
        return found

    def parameters(self) -> list[Any]:
        """Return its parameters in order."""
        return [parameter for parameter, _ in self.pairs()]


@final
class Snapshot:
    """What was true right before a step, for each parameter of an optimizer in order."""

    __slots__ = ("gradient_norms", "gradients", "norms", "pairs", "versions")

    def __init__(self, pairs: list[tuple[Any, float | None]]) -> None:
        self.pairs = pairs
        parameters = [parameter for parameter, _ in pairs]
        self.gradients = [parameter.grad is not None for parameter in parameters]
        self.versions = [parameter._version for parameter in parameters]
        self.norms = measure.norms(parameters)
        self.gradient_norms = measure.norms([parameter.grad for parameter in parameters])


def keep_suspects(optimizer: Optimizer, snapshot: Snapshot, registry: Registry) -> None:
    """Copy the parameters that looked unchanged by the last step, to compare bit for bit."""
    if not optimizer.suspects:
        return
    for parameter, _ in snapshot.pairs:
        number = registry.number(parameter)
        if number in optimizer.suspects:
            optimizer.copies.keep(number, parameter)


def members(
    optimizer: Optimizer,
    snapshot: Snapshot,
    after: measure.Pending,
    registry: Registry,
    ownership: Ownership,
) -> Callable[[], Iterator[Member]]:
    """Return a function that tells, once the device is there, how each parameter fared."""
    versions = [parameter._version for parameter, _ in snapshot.pairs]
    compared = optimizer.copies.compare()
    step = optimizer.steps
    flags = [
        (
            registry.number(p),
            p.requires_grad,
            ownership.had_owner(p),
            p.numel(),
            str(p.dtype),
            measure.readable(p),
            ownership.name_of(p) or f"#{position}",
        )
        for position, (p, _) in enumerate(snapshot.pairs)
    ]
    rates = [rate for _, rate in snapshot.pairs]
    touched = set(optimizer.ledger.touched)

    def resolve() -> Iterator[Member]:
        norms, later = snapshot.norms.values(), after.values()
        gradients = snapshot.gradient_norms.values()
        for i, (number, wanted, owned, size, dtype, dense, name) in enumerate(flags):
            gradient = gradients[i] if snapshot.gradients[i] else math.nan
            moved = later[i] != norms[i] and not (math.isnan(later[i]) and math.isnan(norms[i]))
            changed: bool | None = True if moved else None
            if not dense:
                changed = True if versions[i] != snapshot.versions[i] else None
            elif not moved and number in compared:
                changed = not compared[number]
            rate = rates[i]
            representable = _representable(gradient, norms[i], rate, size, dtype)
            suspicious = dense and not moved and changed is not True and gradient > 0.0
            since = optimizer.suspects.get(number, step)
            if suspicious:
                optimizer.suspects.setdefault(number, step)
            else:
                optimizer.suspects.pop(number, None)
            yield Member(
                number,
                name,
                {
                    "trainable": wanted or (snapshot.gradients[i] and not owned),
                    "frozen": owned and not wanted,
                    "has_gradient": snapshot.gradients[i],
                    "gradient_nonzero": gradient > 0.0 if snapshot.gradients[i] else False,
                    "gradient_finite": math.isfinite(gradient) if snapshot.gradients[i] else None,
                    "finite": math.isfinite(later[i]) if dense else None,
                    "changed": changed,
                    "since": since,
                    "learning_rate": rate,
                    "representable": representable,
                    "reached": i in touched,
                },
            )

    return resolve


def _representable(
    gradient: float, norm: float, rate: float | None, size: int, dtype: str
) -> bool | None:
    """Tell whether a step of this size shows in this number format.

    ``||g|| / sqrt(n)`` is at most the largest gradient, ``||p||`` at least the largest weight, so
    True means that some element must move under plain gradient descent; Adam moves by about the
    learning rate, which the bound with 1 covers. None where the rate is not known.
    """
    if rate is None or math.isnan(gradient) or gradient < 0.0:
        return None
    update = rate * min(1.0, gradient / math.sqrt(size))
    return update > 4.0 * _EPSILON.get(dtype, _EPSILON_OTHER) * norm and update > 1e-38


def _rate(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    device = getattr(value, "device", None)
    if device is not None and device.type == "cpu":
        return float(value)
    return None


def resolved(event: Event, made: Callable[[], Iterator[Member]]) -> Callable[[], Event]:
    """Return a draft: `event` with its members and the sums over them."""

    def draft() -> Event:
        found = tuple(made())
        moved = [m.fields["changed"] for m in found]
        values = {
            **event.values,
            "trainable": sum(1 for m in found if m.fields["trainable"]),
            "changed": sum(1 for c in moved if c is True),
            "gradient_left": any(m.fields["gradient_nonzero"] for m in found),
        }
        return Event(
            event.kind,
            event.sequence,
            event.where,
            event.subjects,
            values,
            event.context,
            found,
            event.step,
            event.epoch,
            event.rank,
        )

    return draft
