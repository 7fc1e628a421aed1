"""Optimizers: what a step finds, and what it does to the parameters."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Event, Location, Member
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.discards import Discards
from tcstatic.runtime.probes.ledger import Ledger
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.stream import listener

_EPSILON: Final = {"torch.float64": 2.3e-16, "torch.float32": 1.2e-7, "torch.float16": 9.8e-4}
_INF: Final = math.inf
_EPSILON_OTHER: Final = 7.9e-3  # bfloat16, and a safe guess for anything narrower


@dataclass(slots=True)
class Interval:
    """What an optimizer has seen since its own last step.

    `others_reached`: a backward reached another optimizer; `orphans`: the parameters that a
    backward reached and nobody holds; `losses`: the losses whose gradients it will use.
    """

    backwards: int = 0
    others_reached: bool = False
    orphans: set[int] = field(default_factory=set)
    losses: list[measure.Pending] = field(default_factory=list)
    foreign_writes: bool = False
    discarded_bad_loss: bool = False
    clipped_live: bool = False
    other_cleared: bool = False


# Number, name, whether a module ever held it, whether its norm can be read, the square root of its
# elements, the smallest part of its norm that surely shows.
Facts = tuple[int, str, bool, bool, float, float]
# What decides how a parameter is told that changes at every step, and how it was told: whether it
# is wanted, whether it was ever trained, its learning rate, and whether a step of its size shows.
Steady = tuple[Facts, tuple[bool, bool, float | None, bool | None], Member]


@final
class Optimizer:
    """One optimizer of the program: torch's own, or the updates a user writes by hand.

    State: `steps` its outermost steps so far; `ledger` its gradients; `suspects` parameter number
    -> step since which it looks unchanged; `copies` bitwise copies over the step in progress;
    `starved` how many steps in a row found no gradient at all; `cleared_again` whether another
    clearing now would be the second one since a backward; `ever_changed` numbers of the
    parameters that some step changed; `first` their norms before the first step that was watched;
    `steady` and `told` how the parameters were told last, by number and all together: the same is
    handed on again while nothing new is to be said.

    `stock` tells whether it is one of torch's own, which change what they are given at every step;
    `title` is the name of its class, for people; `heard` the number under which events are kept
    for it.
    """

    def __init__(
        self, number: int, thing: Any, where: Location | None, *, manual: bool = False
    ) -> None:
        self.number = number
        self.heard = listener(number)
        self.thing = thing
        self.where = where
        self.manual = manual
        self.steps = 0
        self.ledger = Ledger()
        self.suspects: dict[int, int] = {}
        self.copies = measure.Copies()
        self.starved = 0
        self.starved_since = 0
        self.cleared_again = False
        self.discards = Discards()
        self.interval = Interval()
        self.ever_changed: set[int] = set()
        self.before: Snapshot | None = None
        self.live: Sequence[Any] = ()
        self.last: tuple[list[int], measure.Pending] | None = None
        self.first: measure.Pending | None = None
        kind = type(thing())
        self.stock = not manual and kind.__module__.startswith("torch.optim")
        self.title = "hand-written update" if manual else kind.__name__
        self.steady: dict[int, Steady] = {}
        self.told: tuple[tuple[Member, ...], dict[str, Any]] = ((), {})
        self._facts: tuple[tuple[int, int, int], list[Facts]] = ((-1, 0, 0), [])
        self._numbers: tuple[list[Facts] | None, frozenset[int]] = (None, frozenset())

    def parameters(self) -> list[Any]:
        """Return its parameters in order."""
        if self.manual:
            return list(self.live)
        found: list[Any] = []
        for group in getattr(self.thing(), "param_groups", ()):
            found.extend(group.get("params", ()))
        return found

    def rates(self) -> list[float | None]:
        """Return the learning rate of each parameter; one that sits on a device is not read."""
        if self.manual:
            return [None] * len(self.live)
        found: list[float | None] = []
        for group in getattr(self.thing(), "param_groups", ()):
            found.extend([_rate(group.get("lr"))] * len(group.get("params", ())))
        return found

    def facts(self, parameters: list[Any], registry: Registry, ownership: Ownership) -> list[Facts]:
        """Return what stays true of its parameters while no structure changes."""
        key = (ownership.version, len(parameters), id(parameters[0]) if parameters else 0)
        if self._facts[0] != key:
            found = [
                (
                    registry.number(p),
                    ownership.name_of(p) or f"#{position}",
                    ownership.had_owner(p),
                    measure.readable(p),
                    math.sqrt(p.numel()),
                    4.0 * _EPSILON.get(str(p.dtype), _EPSILON_OTHER),
                )
                for position, p in enumerate(parameters)
            ]
            self._facts = (key, found)
        return self._facts[1]

    def numbers(self, facts: list[Facts]) -> frozenset[int]:
        """Return the numbers of its parameters; the same object while `facts` is."""
        if self._numbers[0] is not facts:
            self._numbers = (facts, frozenset(fact[0] for fact in facts))
        return self._numbers[1]

    def lost(self, backward: Location | None, *, alone: bool) -> None:
        """Note that its gradients were cleared unused; see `Discards.cleared`."""
        self.discards.cleared(backward, self.parameters(), self.last, alone=alone)

    @property
    def has_trained(self) -> bool:
        """Whether its parameters are others than at first, whoever watched it."""
        now = measure.norms(self.parameters()).values() if self.first is not None else []
        return self.first is not None and now != self.first.values()


@final
class Snapshot:
    """What was true right before a step, for each parameter of an optimizer in order."""

    __slots__ = ("gradient_norms", "gradients", "norms", "parameters", "rates", "versions")

    def __init__(
        self, optimizer: Optimizer, last: tuple[list[int], measure.Pending] | None = None
    ) -> None:
        """Read the parameters; `last` are the versions and norms that the last step left.

        They stand for the present ones where no version moved and nothing is frozen. A write
        through ``.data`` moves no version: then the step is taken to have changed what that write
        did, which may hide a step without effect, and never accuses one.
        """
        self.parameters = parameters = optimizer.parameters()
        self.rates = optimizer.rates()
        gradients = [parameter.grad for parameter in parameters]
        self.gradients = [gradient is not None for gradient in gradients]
        self.versions = [parameter._version for parameter in parameters]
        kept = last is not None and last[0] == self.versions
        if kept and all([parameter.requires_grad for parameter in parameters]):
            self.norms = last[1] if last is not None else measure.norms(parameters)
        else:
            self.norms = measure.norms(parameters)
        self.gradient_norms = measure.norms(gradients)


def keep_suspects(optimizer: Optimizer, snapshot: Snapshot, registry: Registry) -> None:
    """Copy the parameters that looked unchanged by the last step, to compare bit for bit."""
    if not optimizer.suspects:
        return
    suspects = optimizer.suspects
    parameters = {registry.number(parameter): parameter for parameter in snapshot.parameters}
    for number in list(suspects):
        if number in parameters and not optimizer.copies.keep(number, parameters[number]):
            break
        suspects[number] = suspects.pop(number)  # to the end: in time, every one is compared


@final
class StepReading:
    """What one step did, read at its end and told once the device has got there."""

    def __init__(
        self, optimizer: Optimizer, snapshot: Snapshot, registry: Registry, ownership: Ownership
    ) -> None:
        self._optimizer = optimizer
        self._snapshot = snapshot
        self._step = optimizer.steps
        parameters = snapshot.parameters
        self._after = measure.norms(parameters)
        self._versions = [parameter._version for parameter in parameters]
        optimizer.last = (self._versions, self._after)
        self._compared = optimizer.copies.compare()
        self._facts = optimizer.facts(parameters, registry, ownership)
        self._wanted = [parameter.requires_grad for parameter in parameters]
        self._trained = optimizer.ledger.ever_touched
        self._stock = optimizer.stock
        self._losses = optimizer.interval.losses

    def losses(self) -> dict[str, Any]:
        """Return what is to be said of the losses whose gradients this step used."""
        values = [loss.values()[0] for loss in self._losses]
        if not values:
            return {"loss_zero": False}
        bad = [value for value in values if not math.isfinite(value)]
        told = {"loss_finite": not bad, "loss_zero": not any(values)}
        return {**told, "loss": bad[0]} if bad else told

    def members(self) -> tuple[tuple[Member, ...], dict[str, Any]]:
        """Return how each parameter fared, and the sums over all."""
        before, after = self._snapshot.norms.values(), self._after.values()
        gradients = self._snapshot.gradient_norms.values()
        optimizer, present = self._optimizer, self._snapshot.gradients
        found = []
        for position, facts in enumerate(self._facts):
            gradient = gradients[position] if present[position] else None
            old, new = before[position], after[position]
            if gradient and facts[3] and old != new and 0.0 < gradient < _INF > new and old < _INF:
                found.append(self._usual(position, facts, old, new, gradient))
            else:
                found.append(self._member(position, facts, old, new, gradient))
        told = optimizer.told
        if len(found) != len(told[0]) or not all(map(operator.is_, found, told[0])):
            told = optimizer.told = (tuple(found), _sums(found))
        return told

    def _usual(
        self, position: int, facts: Facts, before: float, after: float, gradient: float
    ) -> Member:
        """Return the usual: finite numbers, a gradient, and a norm that moved."""
        number = facts[0]
        optimizer = self._optimizer
        rate = self._snapshot.rates[position]
        key = (
            self._wanted[position],
            position in self._trained,
            rate,
            _representable(gradient, before, rate, facts),
        )
        last = optimizer.steady.get(number)
        if last is not None and last[0] is facts and last[1] == key:
            if optimizer.suspects:
                optimizer.suspects.pop(number, None)
            return last[2]
        member = self._member(position, facts, before, after, gradient)
        optimizer.steady[number] = (facts, key, member)
        return member

    def _member(
        self,
        position: int,
        facts: Facts,
        before: float,
        after: float,
        gradient: float | None,
    ) -> Member:
        number, name, owned, dense, _, _ = facts
        wanted, trained = self._wanted[position], position in self._trained
        rate = self._snapshot.rates[position]
        changed, since = self._change(position, number, dense, before, after, gradient)
        unread = gradient is None or gradient < 0.0  # sparse gradients have no norm of ours
        return Member(
            number,
            name,
            {
                "trainable": wanted or (gradient is not None and not trained),
                "frozen": owned and not wanted and trained,
                "has_gradient": gradient is not None,
                "gradient_nonzero": gradient is not None and gradient != 0.0,
                "gradient_finite": None if unread else math.isfinite(gradient or 0.0),
                "finite": math.isfinite(after) if dense and math.isfinite(before) else None,
                "changed": changed,
                "since": None if changed is True else since,
                "unchanged_for": 0 if changed is True else self._step - since,
                "ever_changed": number in self._optimizer.ever_changed,
                "stock": self._stock,
                "learning_rate": rate,
                "representable": _representable(gradient, before, rate, facts),
            },
        )

    def _change(
        self,
        position: int,
        number: int,
        dense: bool,
        before: float,
        after: float,
        gradient: float | None,
    ) -> tuple[bool | None, int]:
        """Return whether the parameter changed (None: not known yet), and since which step not.

        An equal norm proves nothing: it raises suspicion, and the parameter is compared bit for
        bit over the next step.
        """
        suspects = self._optimizer.suspects
        if not dense:
            moved = self._versions[position] != self._snapshot.versions[position]
            return (True if moved else None), self._step
        if after != before and not (math.isnan(after) and math.isnan(before)):
            suspects.pop(number, None)
            self._optimizer.ever_changed.add(number)
            return True, self._step
        changed = not self._compared[number] if number in self._compared else None
        since = suspects.get(number, self._step)
        if changed is True or not gradient:
            suspects.pop(number, None)
        else:
            suspects.setdefault(number, self._step)
        return changed, since


def _representable(
    gradient: float | None, norm: float, rate: float | None, facts: Facts
) -> bool | None:
    """Tell whether a step of this size shows in this number format.

    ``||g|| / sqrt(n)`` is at most the largest gradient, ``||p||`` at least the largest weight, so
    True means that some element must move under plain gradient descent; Adam moves by about the
    learning rate, which the bound with 1 covers. None where the rate is not known.
    """
    if rate is None or gradient is None or math.isnan(gradient) or gradient < 0.0:
        return None
    mean = gradient / facts[4]
    update = rate * (mean if mean < 1.0 else 1.0)
    return update > facts[5] * norm and update > 1e-38


def _rate(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    device = getattr(value, "device", None)
    if device is not None and device.type == "cpu":
        return float(value)
    return None


def resolved(event: Event, reading: StepReading) -> Callable[[], Event]:
    """Return a draft: `event` with its members and the sums over them."""

    def draft() -> Event:
        found, sums = reading.members()
        values = {**event.values, **reading.losses(), **sums}
        kind, sequence, where, subjects, _, context, _, step, epoch, rank = event
        return Event(kind, sequence, where, subjects, values, context, found, step, epoch, rank)

    return draft


def _sums(found: list[Member]) -> dict[str, Any]:
    moved = sum(1 for m in found if m.fields["changed"] is True)
    return {
        "trainable": sum(1 for m in found if m.fields["trainable"]),
        "changed": moved,
        "idle": moved == 0,
        "gradient_left": any(m.fields["gradient_nonzero"] for m in found),
    }
