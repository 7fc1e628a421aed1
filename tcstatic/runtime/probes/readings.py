"""What one step did to each parameter, and how that is told."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Event, Member
from tcstatic.model.events import quick_event
from tcstatic.runtime.probes.ledger import VERSION
from tcstatic.runtime.probes.measure import Pending
from tcstatic.runtime.probes.optimizers import WANTED, Facts, Optimizer, Snapshot
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.registry import Registry

_INF: Final = math.inf
_UNREAD: Final = ("unread",)
_USUAL_LOSSES: Final[dict[str, Any]] = {
    "loss_finite": True,
    "loss_zero": False,
    "never_lost": False,
}
_TINY: Final = 1e-30  # a gradient's norm times a rate, far above what `_representable` takes for 0


@final
@dataclass(frozen=True, slots=True)
class Norms:
    """The norms of the gradients that a step found, where `present`, and of the parameters that it
    left; it keeps none of these alive."""

    present: list[bool]
    gradients: Pending
    after: Pending

    def of_gradients(self) -> list[float | None] | None:
        """Return those of the gradients, None for a missing one; None while the device has not
        got there."""
        norms = self.gradients.arrived()
        if norms is None:
            return None
        return [norm if there else None for norm, there in zip(norms, self.present, strict=True)]

    def of_parameters(self) -> list[float] | None:
        """Return those of the parameters, as soon as they are there."""
        return self.after.arrived()


@final
class StepReading:
    """What one step did, read at its end and told once the device has got there.

    `facts` is what stays true of its parameters.
    """

    def __init__(
        self, optimizer: Optimizer, snapshot: Snapshot, registry: Registry, ownership: Ownership
    ) -> None:
        self._optimizer = optimizer
        self._snapshot = snapshot
        self._step = optimizer.steps
        parameters = snapshot.parameters
        self._after, self._gradients = snapshot.read_after(optimizer)
        self._versions = list(map(VERSION, parameters))
        optimizer.last = (self._versions, self._after)
        self._compared = optimizer.copies.compare()
        self.facts = optimizer.facts(parameters, registry, ownership)
        self._wanted = list(map(WANTED, parameters))
        self._trained = optimizer.ledger.ever_touched
        self._stock = optimizer.stock
        self._losses = optimizer.interval.losses
        self._signs: tuple[Any, ...] | None = _UNREAD
        self._said_of_losses: dict[str, Any] | None = None
        # A fused step is made even so: its kernel leaves all as it is where a gradient is not
        # finite, by a flag on the device which only `torch.amp.GradScaler.step` sets.
        self._may_skip = getattr(optimizer.thing(), "found_inf", None) is not None

    @property
    def norms(self) -> Norms:
        """What may be kept of it."""
        return Norms(self._snapshot.gradients, self._gradients, self._after)

    def losses(self) -> dict[str, Any]:
        """Return what is to be said of the losses whose gradients this step used."""
        told = self._said_of_losses
        if told is None:
            told = _of_losses(self._losses)
            if not told.get("never_lost", True):
                self._optimizer.has_lost = True
            elif self._optimizer.has_lost and self._losses:
                told["never_lost"] = False
            self._said_of_losses = told
        return told

    def members(self) -> tuple[tuple[Member, ...], dict[str, Any]]:
        """Return how each parameter fared, and the sums over all."""
        optimizer, signs = self._optimizer, self.signs()
        if signs is not None and not optimizer.suspects and signs == optimizer.signs:
            return optimizer.told
        before, after = self._snapshot.norms.values(), self._after.values()
        gradients, present = self._gradients.values(), self._snapshot.gradients
        skipped = self._may_skip and not all(map(math.isfinite, gradients))
        found = []
        for position, facts in enumerate(self.facts):
            gradient = gradients[position] if present[position] else None
            old, new = before[position], after[position]
            if skipped:
                unused = None if gradient is None else math.nan
                found.append(self._member(position, facts, old, new, unused))
            elif (
                gradient
                and facts[3]
                and old != new
                and gradient > 0.0
                and (gradient < _INF > new and old < _INF)
            ):
                found.append(self._usual(position, facts, old, new, gradient))
            else:
                found.append(self._member(position, facts, old, new, gradient))
        told = optimizer.told
        if len(found) != len(told[0]) or not all(map(operator.is_, found, told[0])):
            told = optimizer.told = (tuple(found), _sums(found))
        optimizer.signs = signs
        return told

    def usual(self) -> bool:
        """Tell whether it says of the parameters what was said last, and nothing of the losses."""
        signs, optimizer = self.signs(), self._optimizer
        if signs is None or signs != optimizer.signs or optimizer.suspects:
            return False
        told = self.losses()
        return not told["loss_zero"] and told.get("loss_finite", True)

    def values(self, values: Mapping[str, Any], sums: dict[str, Any]) -> Mapping[str, Any]:
        """Return the `values` of the step's event together with what is known only now; the same
        object while all parts are the same. Gradients that came about unseen are the work of
        backwards that nobody counted, unless they are zero: then they were cleared."""
        if values.get("backwards", 0) is None and not sums["gradient_left"]:
            values = {**values, "backwards": 0}
        parts, optimizer = (values, self.losses(), sums), self._optimizer
        if not all(map(operator.is_, parts, optimizer.said[0])):
            optimizer.said = (parts, {**parts[0], **parts[1], **parts[2]})
        return optimizer.said[1]

    def bad_norms(self) -> list[float]:
        """Return the norms of parameters and gradients where they are at hand, and a gradient is
        not finite while the losses are."""
        if self._after.at_hand is None or self.signs() is not None:
            return []
        gradients, before = self._gradients.values(), self._snapshot.norms.values()
        if self._may_skip or math.isfinite(sum(gradients)):
            return []
        losses = [number for loss in self._losses for number in loss.at_hand or [math.nan]]
        return [*before, *gradients] if all(map(math.isfinite, losses)) else []

    def is_flat(self) -> bool:
        """Whether every gradient is at hand, and zero."""
        gradients = self._gradients.at_hand
        return gradients is not None and len(gradients) > 0 and not any(gradients)

    def signs(self) -> tuple[Any, ...] | None:
        """Return what decides how the parameters are told, where each is a usual one.

        Told by calls of C alone, without a look at the single parameter. None where some gradient
        is missing, zero or too small, a number not finite, a norm unread or unmoved, a rate
        unknown. The last two tell where `_representable` is true.
        """
        if self._signs is not _UNREAD:
            return self._signs
        self._signs = None
        before, after = self._snapshot.norms.values(), self._after.values()
        gradients = self._gradients.values()
        snapshot, facts = self._snapshot, self.facts
        rates: list[Any] = snapshot.rates
        if not facts or False in snapshot.gradients or None in rates:
            return None
        if not sum(before) + sum(after) + sum(gradients) < _INF or min(before) < 0.0:
            return None
        if min(gradients) * min(rates) < _TINY or any(map(operator.eq, before, after)):
            return None
        roots, epsilons = self._optimizer.scales(facts)
        limits = list(map(operator.mul, epsilons, before))
        updates = map(operator.mul, gradients, rates)
        self._signs = (
            facts,
            self._wanted,
            rates,
            len(self._trained),
            list(map(operator.gt, updates, map(operator.mul, roots, limits))),
            list(map(operator.gt, rates, limits)),
        )
        return self._signs

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
        """Say how a parameter fared; a scaler had a `gradient` of NaN not be used."""
        number, name, owned, dense, _, _ = facts
        wanted, trained = self._wanted[position], position in self._trained
        rate = self._snapshot.rates[position]
        changed, since = self._change(position, number, dense, before, after, gradient)
        unread = gradient is None or gradient < 0.0  # sparse gradients have no norm of ours
        unread = unread or (self._may_skip and not math.isfinite(gradient or 0.0))
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
        if changed is True or not gradient or (self._may_skip and math.isnan(gradient)):
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


def resolved(event: Event, reading: StepReading) -> Callable[[], Event]:
    """Return a draft: `event` with its members and the sums over them."""

    def draft() -> Event:
        found, sums = reading.members()
        values = reading.values(event.values, sums)
        return quick_event((*event[:4], values, event.context, found, *event[7:]))

    return draft


def _of_losses(losses: Sequence[Pending]) -> dict[str, Any]:
    if not losses:
        return {"loss_zero": False}
    first = losses[0].values()[0]
    values = [first, *[loss.values()[0] for loss in losses[1:]]] if len(losses) > 1 else [first]
    if all(map(math.isfinite, values)) and any(values):
        return _USUAL_LOSSES
    bad = [value for value in values if not math.isfinite(value)]
    told = {"loss_finite": not bad, "loss_zero": not any(values), "never_lost": not any(values)}
    return {**told, "loss": bad[0]} if bad else told


def _sums(found: list[Member]) -> dict[str, Any]:
    moved = sum(1 for m in found if m.fields["changed"] is True)
    return {
        "trainable": sum(1 for m in found if m.fields["trainable"]),
        "changed": moved,
        "idle": moved == 0,
        "gradient_left": any(m.fields["gradient_nonzero"] for m in found),
    }
