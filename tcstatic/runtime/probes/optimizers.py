"""Optimizers: what a step finds, and what it does to the parameters."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Location, Member
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.discards import Discards
from tcstatic.runtime.probes.ledger import GRADIENT, NONE, VERSION, Ledger
from tcstatic.runtime.probes.outdated import Outdated
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.rates import Rates
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.stream import listener

_EPSILON: Final = {"torch.float64": 2.3e-16, "torch.float32": 1.2e-7, "torch.float16": 9.8e-4}
_EPSILON_OTHER: Final = 7.9e-3  # bfloat16, and a safe guess for anything narrower


@dataclass(slots=True)
class Interval:
    """What an optimizer has seen since its own last step.

    `others_reached`: a backward reached another optimizer; `orphans`: the parameters that a
    backward reached and nobody holds; `losses`: the losses whose gradients it will use; `origin`:
    what is known of where a number came from that is not finite; `used_elsewhere`: another
    optimizer stepped with gradients of parameters that both hold.
    """

    backwards: int = 0
    others_reached: bool = False
    orphans: set[int] = field(default_factory=set)
    losses: list[measure.Pending] = field(default_factory=list)
    foreign_writes: bool = False
    discarded_bad_loss: bool = False
    clipped_live: bool = False
    other_cleared: bool = False
    used_elsewhere: bool = False
    clearings: int = 0
    origin: str = ""

    def discard_losses(self) -> None:
        """The gradients of its losses were cleared."""
        if not all([math.isfinite(loss.values()[0]) for loss in self.losses]):
            self.discarded_bad_loss = True
        self.losses = []


WANTED: Final[Callable[[Any], bool]] = operator.attrgetter("requires_grad")
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
    clearing now would be the second one since a backward, `cleared_twice` whether there were two
    between steps of its own at any time; `ever_changed` numbers of the parameters that some step
    changed; `has_lost` whether any loss was other than 0; `first` their norms before the first
    watched step, or loss of a gradient;
    `steady` and `told` how the parameters were told last, by number and all together: the same is
    handed on again while nothing new is to be said, as it is at once while `signs` are the same;
    `keeps` tells whether its steps leave the gradients as they find them, None where that is not
    known yet.

    `missed` tells whether steps of it went by unwatched; `models` tells of models, by number,
    whether they hold one of its parameters, `found` is what its last step found, and `said` all
    that was said of it, each after what it was put together from: they stay while they are true.

    `stock` tells whether it is one of torch's own, which change what they are given at every step;
    `title` is the name of its class, for people; `heard` the number under which events are kept
    for it.
    """

    def __init__(
        self, number: int, thing: Any, where: Location | None, *, manual: bool = False
    ) -> None:
        self.number = number
        self.heard = listener("optimizer", number)
        self.thing = thing
        self.where = where
        self.manual = manual
        self.steps = 0
        self.missed = False
        self.ledger = Ledger()
        self.suspects: dict[int, int] = {}
        self.copies = measure.Copies()
        self.starved = 0
        self.starved_since = 0
        self.cleared_again = False
        self.cleared_twice = False
        self.discards = Discards()
        self.interval = Interval()
        self.ever_changed: set[int] = set()
        self.has_lost = False
        self.before: Snapshot | None = None
        self.live: Sequence[Any] = ()
        self.last: tuple[list[int], measure.Pending] | None = None
        self.first: measure.Pending | None = None
        kind = type(thing())
        # LBFGS leaves everything as it is once the gradient is below its tolerance.
        constant = kind.__module__.startswith("torch.optim") and kind.__name__ != "LBFGS"
        self.stock = constant and not manual
        self.title = "hand-written update" if manual else kind.__name__
        self.keeps: bool | None = None if self.stock else False
        self.rate_history, self.outdated = Rates(), Outdated(thing())
        self.steady: dict[int, Steady] = {}
        self.told: tuple[tuple[Member, ...], dict[str, Any]] = ((), {})
        self.signs: tuple[Any, ...] | None = None
        self.models: dict[int, bool] = {}
        self._shared: dict[int, bool] = {}
        self.found: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self.said: tuple[tuple[Any, ...], dict[str, Any]] = ((None, None, None), {})
        self._facts: tuple[tuple[int, tuple[int, ...]], list[Facts]] = ((-1, ()), [])
        self._scales: tuple[Any, tuple[list[float], list[float]]] = (None, ([], []))
        self._numbers: tuple[list[Facts] | None, frozenset[int]] = (None, frozenset())

    def parameters(self) -> list[Any]:
        """Return its parameters in order."""
        if self.manual:
            return list(self.live)
        groups: Sequence[Any] = getattr(self.thing(), "param_groups", ())
        if len(groups) == 1:
            return list(groups[0].get("params", ()))
        found: list[Any] = []
        for group in groups:
            found.extend(group.get("params", ()))
        return found

    def rates(self) -> list[float | None]:
        """Return the learning rate of each parameter; one that sits on a device is not read."""
        if self.manual:
            return [None] * len(self.live)
        groups: Sequence[Any] = getattr(self.thing(), "param_groups", ())
        if len(groups) == 1:
            return [_rate(groups[0].get("lr"))] * len(groups[0].get("params", ()))
        found: list[float | None] = []
        for group in groups:
            found.extend([_rate(group.get("lr"))] * len(group.get("params", ())))
        return found

    @property
    def sharded(self) -> bool:
        """Whether its gradients are DTensors, whose versions do not tell of writes."""
        return any(hasattr(parameter, "to_local") for parameter in self.parameters())

    def group_rates(self) -> list[float | None]:
        """Return the learning rate of each group."""
        groups: Sequence[Any] = getattr(self.thing(), "param_groups", ())
        if len(groups) == 1:
            return [_rate(groups[0].get("lr"))]
        return [_rate(group.get("lr")) for group in groups]

    def facts(self, parameters: list[Any], registry: Registry, ownership: Ownership) -> list[Facts]:
        """Return what stays true of its parameters while no structure changes."""
        key = (ownership.version, tuple(map(id, parameters)))
        if self._facts[0] != key:
            self.models = {}
            found = [
                (
                    registry.number(p),
                    ownership.name_of(p) or f"#{position}",
                    ownership.had_owner(p),
                    measure.readable(p),
                    0.0 if measure.is_lazy(p) else math.sqrt(p.numel()),
                    4.0 * _EPSILON.get(str(p.dtype), _EPSILON_OTHER),
                )
                for position, p in enumerate(parameters)
            ]
            stays = not any(map(measure.is_lazy, parameters))
            self._facts = (key if stays else (-1, ()), found)
        return self._facts[1]

    def numbers(self, facts: list[Facts]) -> frozenset[int]:
        """Return the numbers of its parameters; the same object while `facts` is."""
        if self._numbers[0] is not facts:
            self._numbers = (facts, frozenset(fact[0] for fact in facts))
        return self._numbers[1]

    def scales(self, facts: list[Facts]) -> tuple[list[float], list[float]]:
        """Return the last two of `facts` for all parameters; kept while `facts` is the same."""
        if self._scales[0] is not facts:
            found = [fact[4] for fact in facts], [fact[5] for fact in facts]
            self._scales = (facts, found)
        return self._scales[1]

    def forget(self) -> None:
        """Steps go by unwatched: nothing seen before may be compared with what comes after."""
        self.ledger.forget()
        self.suspects = {}
        self.copies.compare()
        self.before = self.last = None
        self.starved = 0
        self.discards.forget()
        self.interval = Interval()

    def tell_sharers(self, everyone: Collection[Optimizer]) -> None:
        """It has stepped: have those know which hold one of its parameters, too."""
        for other in everyone if len(everyone) > 1 else ():
            if other is self or not other.ledger.touched:
                continue
            if other.number not in self._shared:  # asked once for each
                held = set(map(id, self.parameters()))
                self._shared[other.number] = not held.isdisjoint(map(id, other.parameters()))
            if self._shared[other.number]:
                other.interval.used_elsewhere = True

    def note_clearing(self) -> bool:
        """Note one more clearing; tell whether it, or one like it, was meant for another."""
        self.interval.clearings += 1
        self.cleared_twice = self.cleared_twice or self.interval.clearings > 1
        return self.cleared_again or self.cleared_twice

    def lost(self, backward: Location | None, *, alone: bool) -> None:
        """Note that its gradients were cleared unused; see `Discards.cleared`."""
        if self.first is None:
            self.first = measure.norms(self.parameters())
        self.discards.cleared(backward, self.parameters(), self.last, alone=alone)

    @property
    def has_moved(self) -> bool:
        """Whether its step is in progress, and has written to its parameters."""
        before = self.before
        return before is not None and before.versions != list(map(VERSION, self.parameters()))

    @property
    def has_trained(self) -> bool:
        """Whether its parameters are others than at first, whoever watched it."""
        now = measure.norms(self.parameters()).values() if self.first is not None else []
        return self.first is not None and now != self.first.values()


def on_host(thing: Any) -> bool:
    """Whether all parameters of an optimizer are in the host's memory."""
    groups = getattr(thing, "param_groups", ())
    return all(p.device.type == "cpu" for g in groups for p in g["params"])


@final
class Snapshot:
    """What was true right before a step, for each parameter of an optimizer in order."""

    __slots__ = (
        "found",
        "gradient_norms",
        "gradients",
        "marks",
        "norms",
        "parameters",
        "rates",
        "versions",
    )

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: list[Any],
        last: tuple[list[int], measure.Pending] | None = None,
    ) -> None:
        """Read `parameters`, those of the optimizer; `last` are the versions and norms that its
        last step left.

        They stand for the present ones where no version moved and nothing is frozen. A write
        through ``.data`` moves no version: then the step is taken to have changed what that write
        did, which may hide a step without effect, and never accuses one.

        `found` are the gradients, with their versions as `marks`, where the step may keep them: one
        that is known to do so has their norms read after it, together with the parameters'.
        """
        self.parameters = parameters
        self.rates = optimizer.rates()
        gradients = list(map(GRADIENT, parameters))
        whole = NONE not in map(type, gradients)
        self.gradients = [True] * len(gradients)
        if not whole:
            self.gradients = [gradient is not None for gradient in gradients]
        self.versions = list(map(VERSION, parameters))
        if last is not None and last[0] == self.versions and all(map(WANTED, parameters)):
            self.norms = last[1]
        else:
            self.norms = measure.norms(parameters)
        self.found: list[Any] = []
        self.marks: list[int] = []
        self.gradient_norms: measure.Pending | None = None
        if optimizer.keeps is not False and whole:
            self.found, self.marks = gradients, list(map(VERSION, gradients))
        if not (optimizer.keeps and self.found):
            self.gradient_norms = measure.norms(gradients)

    def read_after(self, optimizer: Optimizer) -> tuple[measure.Pending, measure.Pending]:
        """Return the norms of the parameters as they are now, and those of the gradients."""
        parameters, found = self.parameters, self.found
        self.found = []
        if found and list(map(VERSION, found)) != self.marks:
            optimizer.keeps = False
        elif found and optimizer.keeps is None and optimizer.steps > 0:
            optimizer.keeps = all(map(operator.is_, map(GRADIENT, parameters), found))
        if self.gradient_norms is not None:
            return measure.norms(parameters), self.gradient_norms
        return measure.norms_of_two(parameters, found)


def keep_suspects(optimizer: Optimizer, snapshot: Snapshot, registry: Registry) -> None:
    """Copy the parameters that looked unchanged by the last step, to compare bit for bit."""
    suspects = optimizer.suspects
    parameters = {registry.number(parameter): parameter for parameter in snapshot.parameters}
    for number in list(suspects):
        if number in parameters and not optimizer.copies.keep(number, parameters[number]):
            break
        suspects[number] = suspects.pop(number)  # to the end: in time, every one is compared


def _rate(value: Any) -> float | None:
    if type(value) is float:
        return value
    if isinstance(value, int | float):
        return float(value)
    device = getattr(value, "device", None)
    if device is not None and device.type == "cpu":
        return float(value)
    return None
