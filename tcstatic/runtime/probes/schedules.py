"""Learning-rate schedules: which optimizer each one drives, and how often it is asked to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes import codes
from tcstatic.runtime.probes.factors import Factors
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.rates import Rates
from tcstatic.runtime.probes.stalled import Stalled
from tcstatic.runtime.probes.stream import HEARD, Stream
from tcstatic.runtime.probes.twins import Twins
from tcstatic.runtime.probes.units import ended_early, in_other_unit, length_of, told_in_steps

# Steps of a schedule, and of another optimizer, before an optimizer that never stepped is told.
_LEAST_CALLS: Final = 3
# Steps of an optimizer, all at a rate of nothing, before that is told at the end of a run.
_LEAST_STEPS: Final = 5
_WHOLE: Final = frozenset({"//", "int", "floor", "trunc"})
# Schedules that are counted in epochs, as their documentation shows them; others in steps.
_IN_EPOCHS: Final = frozenset(
    "StepLR MultiStepLR ExponentialLR CosineAnnealingLR CosineAnnealingWarmRestarts "
    "ReduceLROnPlateau".split()
)


@final
class Schedules:
    """Follows the schedulers of one process.

    State, by the number of a scheduler: `_calls` of its step; `_told` with each place that called
    it; `_settled` those that are known to drive a step, `_idle` those that are told not to, with
    the optimizer that steps; `_units` those of which it is known whether they are stepped in
    the unit that they count in, `_open` the others: where each was stepped last, how long it is,
    how often it was stepped, and what it drives.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._calls: dict[int, int] = {}
        self._told: set[tuple[int, int]] = set()
        self._settled: set[int] = set()
        self._idle: dict[int, Optimizer] = {}
        self._open: dict[int, tuple[Location | None, int, int, Optimizer, str]] = {}
        self._units: set[int] = set()
        self._twins = Twins(stream)
        self._stalled = Stalled()
        self._factors = Factors(stream)

    def made(self, scheduler: Any, driven: Optimizer, where: Location | None) -> None:
        """A scheduler was made for an optimizer; by whom, is told by the first who hands it on."""
        number = self._stream.registry.number(scheduler)
        self._twins.made(scheduler, driven, where)
        self._factors.made(scheduler, driven, where)
        if number not in self._calls:
            self._calls[number] = 0
            self._tell("scheduler.new", scheduler, driven, where, {})

    def stepped(
        self,
        scheduler: Any,
        driven: Optimizer,
        others: Iterable[Optimizer],
        where: Location | None,
    ) -> None:
        """A scheduler's ``step`` is about to be called; `others` are all optimizers there are."""
        number = self._stream.registry.number(scheduler)
        self._calls[number] = calls = self._calls.get(number, 0) + 1
        self._factors.stepped(scheduler)
        in_epochs = type(scheduler).__name__ in _IN_EPOCHS
        rules = getattr(scheduler, "lr_lambdas", ()) if calls == 1 else ()
        driven.rate_history.scheduled(calls, rules, in_epochs=in_epochs)
        self._look_at_unit(scheduler, driven, where)
        place = (number, id(where))
        everyone = list(others)
        self._twins.stepped(scheduler, everyone)
        self._look_at_driven(scheduler, driven, everyone, where)
        stepping = self._idle.get(number)
        if number not in self._settled and (
            driven.steps
            or any(other.steps and _follows(other, driven) for other in everyone)
            or (stepping is not None and stepping.rate_history.varied)
        ):
            self._settled.add(number)
            self._idle.pop(number, None)
            self._told.add(place)
            self._tell("scheduler.step", scheduler, driven, where, {"drives_nothing": False})
        elif place not in self._told:
            self._told.add(place)
            self._tell("scheduler.step", scheduler, driven, where, {})
        if calls >= _LEAST_CALLS and number not in self._settled | self._idle.keys():
            for other in everyone:
                if other.steps >= _LEAST_CALLS and other.stock and _trains_for(other, driven):
                    self._idle[number] = other
                    self._tell_idle(scheduler, driven, other, where)
                    break

    def _look_at_driven(
        self, scheduler: Any, driven: Optimizer, everyone: list[Optimizer], where: Location | None
    ) -> None:
        """See whether another optimizer has taken the place of the one that is driven."""
        number = self._stream.registry.number(scheduler)
        news = self._stalled.called(number, driven, everyone)
        if news is not None:
            others = () if news[1] is None else (news[1].number,)
            values = {
                "drives_replaced": news[0],
                "replaced": True,
                "stepping": "" if news[1] is None else news[1].title,
            }
            self._tell("scheduler.step", scheduler, driven, where, values, others)

    def _look_at_unit(self, scheduler: Any, driven: Optimizer, where: Location | None) -> None:
        number = self._stream.registry.number(scheduler)
        if number in self._units:
            return
        length, done = length_of(scheduler), getattr(scheduler, "last_epoch", 0)
        found: Mapping[str, Any] | None = {"other_unit": False}
        if length > 1 and type(done) is int:
            found = in_other_unit(scheduler, length, done, driven.steps, self._stream.loops)
            self._open[number] = (where, length, done + 1, driven, type(scheduler).__name__)
        if found is not None:
            self._units.add(number)
            self._open.pop(number, None)
            if found["other_unit"]:
                self._tell("scheduler.step", scheduler, driven, where, found)

    def finish(self, everyone: Iterable[Optimizer]) -> None:
        """The run ends: how many steps each optimizer has made is known, and at which rates."""
        self._twins.settle()
        self._factors.settle()
        optimizers = list(everyone)
        if not any(one.rate_history.moved for one in optimizers):
            for one in optimizers:
                if one.steps >= _LEAST_STEPS and one.stock and _was_made_for_nothing(one):
                    values = {"operation": "rate", "rate_of_nothing": True}
                    subjects = {"optimizer": (one.number,), HEARD: (one.heard,)}
                    self._stream.tell(self._stream.make("call", one.where, subjects, values))
                elif not one.manual:
                    _tell_news(self._stream, one, one.rate_history.at_end(one.steps))
        for number, (where, length, done, driven, kind) in self._open.items():
            if ended_early(length, done, driven.steps):
                subjects = {"scheduler": (number,), HEARD: (driven.heard,)}
                values = {"type": kind, **told_in_steps(length)}
                self._stream.tell(self._stream.make("scheduler.step", where, subjects, values))
        self._open = {}

    def _tell_idle(
        self, scheduler: Any, driven: Optimizer, other: Optimizer, where: Location | None
    ) -> None:
        """The optimizer that a scheduler was made for never steps, another with its parameters
        does."""
        later = other.number > self._stream.registry.number(scheduler)
        values = {"drives_nothing": True, "replaced": later, "stepping": other.title}
        self._tell("scheduler.step", scheduler, driven, where, values, (other.number,))

    def _tell(
        self,
        kind: str,
        scheduler: Any,
        driven: Optimizer,
        where: Location | None,
        values: Mapping[str, Any],
        others: tuple[int, ...] = (),
    ) -> None:
        stream = self._stream
        subjects = {
            "scheduler": (stream.registry.number(scheduler),),
            "other": others,
            HEARD: (driven.heard,),
        }
        told = {"type": type(scheduler).__name__, **values}
        stream.tell(stream.make(kind, where, subjects, told))


def _was_made_for_nothing(one: Optimizer) -> bool:
    """Whether no group has had a rate from the beginning, which a scheduler notes for it."""
    groups = getattr(one.thing(), "param_groups", ())
    idle = all(group.get("initial_lr", group.get("lr")) == 0 for group in groups)
    return idle and not one.rate_history.moved


def _follows(one: Optimizer, driven: Optimizer) -> bool:
    """Whether another optimizer has the same groups, and so the rate that is set in them."""
    if one is driven:
        return False
    held = set(map(id, getattr(driven.thing(), "param_groups", ())))
    return any(id(group) in held for group in getattr(one.thing(), "param_groups", ()))


def _trains_for(one: Optimizer, driven: Optimizer) -> bool:
    """Whether another optimizer holds a parameter in common, at a rate that nobody sets."""
    if one.rate_history.varied:
        return False
    held = set(map(id, one.parameters()))
    return any(id(parameter) in held for parameter in driven.parameters())


def tell_rates(stream: Stream, optimizer: Optimizer, everyone: Iterable[Optimizer]) -> None:
    """Tell what is new about the learning rates of a step, watched or not."""
    if optimizer.manual:
        return
    optimizer.outdated.look(stream, optimizer.thing(), optimizer.number)
    rates, now = optimizer.rate_history, optimizer.group_rates()
    if now == rates.alive_with:
        return
    others = (one.rate_history for one in everyone)
    news = rates.news(now, optimizer.steps, others, lambda: bool(_rounding(stream, rates)))
    _tell_news(stream, optimizer, news)


def _tell_news(stream: Stream, optimizer: Optimizer, news: Mapping[str, Any] | None) -> None:
    if news is not None and not (news["rate_vanished"] and _was_made_for_nothing(optimizer)):
        subjects = {"optimizer": (optimizer.number,)}
        if news["rate_vanished"]:
            subjects[HEARD] = (optimizer.heard,)
            places = _rounding(stream, optimizer.rate_history)
            if places:
                values = {"operation": "the rule divides without a rest"}
                stream.tell(stream.make("call", places[0], subjects, values))
            else:
                _tell_written(stream, subjects)
            news = {**news, "rule_found": bool(places)}
        stream.tell(stream.make("state", stream.last_step_where, subjects, news))


def _rounding(stream: Stream, rates: Rates) -> list[Location]:
    """Return where a schedule's own rule divides as integers are divided, if that is in one
    place."""
    places = codes.places(rates.rules, _WHOLE, _WHOLE, stream.locator)
    return places if len(places) == 1 else []


def _tell_written(stream: Stream, subjects: Mapping[str, tuple[int, ...]]) -> None:
    """Tell where the program itself writes a learning rate, if that is in one place."""
    code = codes.reachable(stream.locator.frame(1), (), stream.locator)
    places = codes.stored(code, "lr", stream.locator)
    if len(places) == 1:
        stream.tell(stream.make("call", places[0], subjects, {"operation": "a rate is set"}))
