"""What parted copies on several ranks: a line that only some passed, a rate, a write, a load."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.branches import branch_around, rate_written, state_written
from tcstatic.runtime.probes.brought import PARTED, Futile
from tcstatic.runtime.probes.continuity import (
    BUFFER,
    COUNT,
    GONE,
    GRADIENT,
    RATE,
    STATE,
    WEIGHT,
)
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.partings import (
    ALONE,
    ORDER,
    Parting,
    Round,
    first_difference,
    last_alone,
    rates_agreed,
    touched_alone,
)
from tcstatic.runtime.probes.pastwrites import (
    averages_weights,
    sets_rates,
    writes_past_torch,
)
from tcstatic.runtime.probes.stream import Stream

# What an event is told of: its subjects, and its values.
Told = tuple[dict[str, tuple[int, ...]], dict[str, Any]]
_LOADS: Final = frozenset({"model.load", "model.mutate", "grad.write"})
SAME: Final = "was the same on ranks {} and got the same gradient, but differs after the step"
_SAME_AT_FIRST: Final = (
    "differs on ranks {} before the first step, though their wrapper made it equal"
)
LAID_OUT: Final = "is one copy on ranks {}, as --mesh has it, but differs after the step"
_LEFT_OUT: Final = "gets the same gradient on ranks {}, but only some of them update it"
TOUCHED: Final = {
    BUFFER: "buffer {} changed between the step and the next call of its model",
    RATE: "{} changed between the backward and the step",
    WEIGHT: "{} changed between the step and the next backward",
    STATE: "the optimizer's state of {} changed between two steps",
    GONE: "the optimizer's state of {} was taken away between two steps",
    COUNT: "the optimizer's count of steps of {} changed between two steps",
    GRADIENT: "the gradient of {} changed between the backward and the step",
}
ONCE_APART: Final = "got the same gradient on ranks {} in other steps, but not in this one"
NEVER_SAME: Final = "gets the same gradient on ranks {}, but was never the same there"


@final
class Causes:
    """Answers for one process. State: `places` the sites that ranks may have passed, by number;
    `backward` the last site of a backward, `schedule` that of a scheduler's step."""

    def __init__(self, stream: Stream, live: Callable[[], Sequence[Optimizer]]) -> None:
        self._stream = stream
        self._live = live
        self.places: dict[int, Site] = {}
        self.backward: Site | None = None
        self.schedule: Site | None = None

    @property
    def backward_where(self) -> Location | None:
        """Where the last backward was called."""
        return None if self.backward is None else self.backward.location

    def of(
        self,
        turn: int,
        parting: Parting,
        now: Mapping[int, Round],
        before: Mapping[int, Round],
        meant: Collection[int],
    ) -> Told:
        """Return the first site after backward that only some ranks passed, or passed otherwise,
        and in words what they did otherwise."""
        apart = parting.apart[0]
        usual = next(rank for rank in parting.ranks if rank not in parting.apart)
        if turn == 0:
            return self._apart_from_the_start(usual, apart, now)
        found = first_difference(now[usual], now[apart])
        site = self.places.get(found.site) or self._stream.site(found.site)
        if site is None:
            return self._without_difference(turn, usual, apart, now, before, meant)
        owner, line = usual if found.alone else apart, site.location.line
        because = {
            ALONE: f"; only {_passing(found.site, owner, parting, now)} line {line}",
            ORDER: f"; rank {owner} passes line {line} in another order",
        }.get(found.how, f"; the norm at line {line} is another on rank {owner}")
        how = {"only_on_rank": owner, "how": found.how}
        return self._parted_at(turn, site.location, because, how)

    def _apart_from_the_start(self, usual: int, apart: int, now: Mapping[int, Round]) -> Told:
        """Return what wrote to weights that a wrapper had made equal, before any step."""
        one, other = now[usual].early, now[apart].early
        alone, told = last_alone(one, other), {"parting": _SAME_AT_FIRST}
        site = self.places.get(alone[0] if alone else one[-1] if one else 0)
        if site is None:
            return {}, {"because": "", "parted_at_start": True, **told}
        line = site.location.line
        because = f"; what line {line} writes is another on each rank"
        if alone is not None:
            because = f"; only rank {usual if alone[1] else apart} passes line {line}"
        return self._parted_at(0, site.location, because, told)

    def _without_difference(
        self,
        turn: int,
        usual: int,
        apart: int,
        now: Mapping[int, Round],
        before: Mapping[int, Round],
        meant: Collection[int],
    ) -> Told:
        """Return what may have parted ranks that have passed the same sites."""
        built = not rates_agreed(before, (usual, apart))
        because = _rates_differ(apart, now[apart].rates, usual, now[usual].rates)
        touched = touched_alone(now[apart], [now[usual]])
        if not because and touched:
            return self._changed_alone(turn, apart, *next(iter(touched.items())))
        site = self.places.get(now[usual].writer)
        if not because and site is not None and not _used_the_same(now[usual], now[apart]):
            because = f"; what line {site.location.line} writes is another on each rank"
            return self._parted_at(turn, site.location, because, {"how": "wrote something else"})
        where = self._set_rate(meant) if because and not built else None
        if where is not None:
            because += f"; line {where.line} sets it"
            return self._parted_at(turn, where, because, {"how": "set another rate"})
        loaded = None if because or turn != 1 else self._loaded_apart(usual, apart, before)
        if loaded is not None:
            return self._parted_at(turn, *loaded, {"how": "loaded alone"})
        kept = [one.number for one in self._live() if not one.rate_history.varied]
        numbers = tuple(kept) if because and built else ()
        facts = {"parted_at_site": False, "built_apart": bool(numbers), "because": because}
        return {"optimizer": numbers} if numbers else {}, facts

    def _changed_alone(self, turn: int, rank: int, name: str, kind: str) -> Told:
        """Return what changed on a rank alone while nothing was meant to change it, and the line of
        the program that does so, where there is one."""
        because = f"; on rank {rank} {TOUCHED[kind].format(name)}"
        step = self._stream.last_step_where
        line = None
        if step is not None and kind in (STATE, COUNT, GONE):
            line = state_written(os.path.join(self._stream.locator.root, step.file))
        if step is None or line is None:
            because += ", by nothing that is watched"
            return {}, {"parted_at_site": False, "built_apart": False, "because": because}
        where = replace(step, line=line, end_line=line, column=1)
        return self._parted_at(turn, where, f"{because}, by line {line}", {"how": "changed it"})

    def averages_weights(self) -> bool:
        """Whether the program's own source may average weights over ranks."""
        return averages_weights(self._stream.locator.root)

    def may_change(self, kind: str) -> bool:
        """Whether the program's own source changes what is of a kind in a way that torch does not
        count."""
        root = self._stream.locator.root
        if kind == RATE:
            return self.schedule is not None or sets_rates(root)
        return writes_past_torch(root)

    def _set_rate(self, meant: Collection[int]) -> Location | None:
        """Return where learning rates are set: by a scheduler that only some ranks step, by
        another, or by hand."""
        some = [self.places.get(number) or self._stream.site(number) for number in meant]
        stepped = [site for site in some if site is not None and site.kind == "optimizer.step"]
        if len(stepped) == 1:
            return stepped[0].location
        if self.schedule is not None:
            return self.schedule.location
        step = self._stream.last_step_where
        line = rate_written(os.path.join(self._stream.locator.root, step.file)) if step else None
        return replace(step, line=line, end_line=line, column=1) if step and line else None

    def _loaded_apart(
        self, usual: int, apart: int, began: Mapping[int, Round]
    ) -> tuple[Location, str] | None:
        """Return the last load that only one of two ranks passed before it trained, in words."""
        if usual not in began or apart not in began:
            return None
        one, other = (
            [site for site in began[rank].prior + began[rank].early if self._loads(site)]
            for rank in (usual, apart)
        )
        alone = last_alone(one, other)
        site = self.places.get(alone[0]) if alone else None
        if alone is None or site is None:
            return None
        owner = usual if alone[1] else apart
        return site.location, f"; only rank {owner} passes line {site.location.line}"

    def _loads(self, number: int) -> bool:
        site = self.places.get(number) or self._stream.site(number)
        return site is not None and site.kind == "model.load"

    def _parted_at(self, turn: int, where: Location, because: str, how: dict[str, Any]) -> Told:
        """Tell where ranks parted."""
        subjects: dict[str, tuple[int, ...]] = {"parting": (-self._stream.sequence(),)}
        told, step = {**how, "held": True}, family_step(turn)
        event = self._stream.make("grad.write", where, subjects, told, step=step)
        self._stream.tell(event)
        return subjects, {"parted_at_site": True, "because": because, **how}

    def brought_in_vain(self, turn: int, found: Futile) -> Told:
        """Tell where a program brings gradients together in vain."""
        return self._parted_at(turn, found.where, found.why, {"parting": PARTED})

    def left_out(self, turn: int, ahead: int, usual: Round) -> Told:
        """Return where a rank leaves a step out that the usual ones make."""
        known = (self.places.get(number) or self._stream.site(number) for number in usual.sites)
        steps = [one.location for one in known if one is not None and one.kind == "optimizer.step"]
        told = {"parting": _LEFT_OUT, "because": f"; rank {ahead} leaves a step out"}
        if not steps:
            return {}, told
        because = f"; rank {ahead} leaves the step at line {steps[0].line} out"
        subjects, facts = self._parted_at(turn, self._branch(steps[0]), because, told)
        return subjects, facts

    def _branch(self, step: Location) -> Location:
        """Return the condition that decides whether a step follows the backward, or the step."""
        before = self.backward_where or step
        if before.file != step.file or before.function != step.function:
            return step
        line = branch_around(
            os.path.join(self._stream.locator.root, step.file), before.line, step.line
        )
        return step if line is None else replace(step, line=line, end_line=line, column=1)


def _passing(number: int, owner: int, parting: Parting, now: Mapping[int, Round]) -> str:
    """Return in words which of the ranks that held one value have passed a site: one did."""
    some = [rank for rank in parting.ranks if rank in now and number in now[rank].sites]
    if len(some) < 2:
        return f"rank {owner} passes"
    return f"ranks {', '.join(map(str, some))} pass"


def _used_the_same(one: Round, other: Round) -> bool:
    """Whether the steps of two ranks are known to have used the same gradients."""
    return bool(one.used) and one.used == other.used


def _rates_differ(
    rank: int, its: Sequence[float | None], other: int, theirs: Sequence[float | None]
) -> str:
    """Return in words how the learning rates of two ranks differ, '' where they do not."""
    differing = [pair for pair in zip(its, theirs, strict=False) if pair[0] != pair[1]]
    if not differing:
        return ""
    mine, yours = ("unknown" if rate is None else f"{rate:.4g}" for rate in differing[0])
    return f"; the learning rate of rank {rank} was {mine}, that of rank {other} {yours}"


def family_step(turn: int) -> int:
    """Return the step whose outcome a round shows: the update before it."""
    return max(turn - 1, 0) if turn < 256 else (turn >> 8) + (turn & 255) - 1


def may_write(site: Site, *, begun: bool) -> bool:
    """Whether a site may write to a weight or a state; once training has begun, by loading it."""
    if begun:
        return site.kind == "model.load"
    return site.kind in _LOADS or (site.kind == "call" and site.callee.endswith("_"))
