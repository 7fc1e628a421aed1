"""What is said of copies once all ranks have told what they hold of one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from tcstatic.model import Member
from tcstatic.runtime.probes.causes import (
    LAID_OUT,
    NEVER_SAME,
    ONCE_APART,
    SAME,
    TOUCHED,
    Causes,
    family_step,
)
from tcstatic.runtime.probes.exchange import alike
from tcstatic.runtime.probes.family import Family
from tcstatic.runtime.probes.lonely import Touch
from tcstatic.runtime.probes.partings import (
    Parting,
    Round,
    Verdict,
    alike_beside,
    apart_before,
    gradients_parted,
    never_equal,
    out_of_step,
    passed_by_some,
    stepped_apart,
    values_parted,
)
from tcstatic.runtime.probes.sources import HOW, Odd
from tcstatic.runtime.probes.stream import HEARD, Stream, listener


@final
class Judge:
    """Judges for the rank that compares."""

    def __init__(self, stream: Stream, causes: Causes, world: int) -> None:
        self._stream = stream
        self._causes = causes
        self._world = world

    def judge(self, family: Family, turn: int, now: dict[int, Round], agreed: bool) -> None:
        """Judge what all ranks noted of one update; `agreed`: all hold the same."""
        last, noted = family.compared
        family.compared = (turn, now)
        if family.lost:
            return
        sources = {rank: one.source for rank, one in now.items()}
        counted = alike(now) if agreed else now
        now = {rank: one.without(family.meant) for rank, one in counted.items()}
        if self._is_lost(family, turn, now):
            return
        parted = self._judge_copies(family, turn, now, noted, last)
        self._tell_unsynced(family, family.unsynced.judge(turn, now))
        self._tell_touches(family.lonely.judge(turn, now, parted=parted))
        if not any(one.alone for one in now.values()):
            self._tell_sources(*family.sources.judge(turn, sources))

    def settle(self, family: Family) -> None:
        """The run ends."""
        if not family.lost:
            self._tell_unsynced(family, family.unsynced.settle())
            self._tell_touches(family.lonely.settle())
            self._tell_sources(*family.sources.settle())

    def _judge_copies(
        self,
        family: Family,
        turn: int,
        now: dict[int, Round],
        noted: Mapping[int, Round],
        last: int,
    ) -> bool:
        """Judge what several ranks hold; return whether copies have parted."""
        gradients = gradients_parted(now)
        if gradients.names:
            self._tell_gradients(family, turn, gradients)
        before = noted if last == turn - 1 else None
        if family.whole is None:
            family.whole = alike_beside(now)
        values = values_parted(before, now, family.whole).since(noted)
        odd = family.averaged.judge(turn, now, before or {})
        if values.partings:
            self._tell_parted(family, turn, values, now, noted)
        elif odd is not None:
            found = self._causes.of(odd.turn, odd.parting, odd.now, odd.before, family.meant)
            self._tell_one(odd.turn, odd.parting, {"parting": ONCE_APART, **found[1]}, found[0])
        elif not family.group and self._left_out(family, turn, now, before or {}):
            return True
        elif turn == 1 and last == 0 and self._parted_at_first(family, now, noted):
            pass
        elif values.names and any(one.gradients is not None for one in now.values()):
            self._tell(family_step(turn), "param.data", values, {})
        parted = bool(gradients.partings or values.partings)
        if parted:
            family.suspected |= passed_by_some(now)
        else:
            family.meant |= passed_by_some(now) - family.suspected
        return parted or odd is not None

    def _tell_gradients(self, family: Family, turn: int, verdict: Verdict) -> None:
        subjects = self._wrapped(family, verdict)
        self._tell(family_step(turn), "param.grad", verdict, {}, subjects)

    def _tell_unsynced(self, family: Family, found: tuple[int, Verdict] | None) -> None:
        """Tell of a step on gradients that were kept apart, and never brought together."""
        if found is not None and not self._causes.averages_weights():
            self._tell_gradients(family, *found)

    def _tell_touches(self, touches: Sequence[Touch]) -> None:
        """Tell of what changed on one rank alone."""
        for one in touches:
            if self._causes.may_change(one.kind):
                continue
            values = {
                "left_alone": False,
                "how": TOUCHED[one.kind].format(one.name),
                "culprit_rank": one.rank,
                "world_size": self._world,
            }
            self._make(values, {}, (), family_step(one.turn))

    def _tell_sources(self, seeds: Odd | None, batches: Odd | None) -> None:
        """Tell of a rank whose seed, or whose batch, is another rank's, or is not any more."""
        for kind, odd in (("seeded", seeds), ("fed", batches)):
            if odd is not None:
                values = {
                    f"{kind}_as_before": False,
                    "how": HOW[kind, odd.joined].format(odd.rank, odd.other),
                    "culprit_rank": odd.rank,
                    "world_size": self._world,
                }
                # A round ends with the backward of the next: what that was given, it has told.
                self._make(values, {}, (), family_step(odd.turn + 1))

    def _left_out(
        self, family: Family, turn: int, now: Mapping[int, Round], before: Mapping[int, Round]
    ) -> bool:
        """Whether a rank left a step out, of gradients that a program brings together by hand; that
        is told."""
        kept = {*family.averaged.kept, *family.reduced}
        names = [name for name, _ in family.parameters if name in kept]
        if any(one.alone for one in now.values()):
            return False
        found = stepped_apart(before, now, names)
        if found is None:
            return False
        family.lost = True
        name, stepped, left_out = found
        parting = Parting(name, tuple(sorted(now)), (left_out,))
        subjects, facts = self._causes.left_out(turn, left_out, now[stepped])
        self._tell_one(turn, parting, facts, subjects)
        return True

    def _parted_at_first(
        self, family: Family, now: Mapping[int, Round], noted: Mapping[int, Round]
    ) -> bool:
        """Judge the first update of copies that a program brings together by hand; return whether
        something is told."""
        futile = family.brought.judge(noted, now)
        if futile is not None:
            subjects, facts = self._causes.brought_in_vain(1, futile)
            self._tell_one(1, futile.parting, facts, subjects)
            return True
        apart = never_equal(noted, now)
        if apart is not None:
            facts = {"because": "", "made_apart": True, "parting": NEVER_SAME}
            self._tell_one(1, apart, facts, {"model": family.models})
        return apart is not None

    def _wrapped(self, family: Family, verdict: Verdict) -> dict[str, tuple[int, ...]]:
        """Return the wrapper's models, and the parameter that parted first."""
        first = verdict.partings[0].name if verdict.partings else ""
        number = self._stream.registry.number
        parted = tuple(number(p) for name, p in family.parameters if name == first)[:1]
        return {"model": family.models, "parameter": parted} if parted else {}

    def _is_lost(self, family: Family, turn: int, now: Mapping[int, Round]) -> bool:
        """Whether a rank left an update out that others made; that is told."""
        found = out_of_step(now)
        if found is None:
            return False
        family.lost = True
        usual, ahead = found
        name = next(iter(now[usual].values), "") or family.everything[0][0]
        verdict = Verdict((name,), (Parting(name, now[usual].group, (ahead,)),))
        subjects, facts = self._causes.left_out(turn, ahead, now[usual])
        self._tell(family_step(turn), "param.data", verdict, facts, subjects)
        return True

    def _tell_parted(
        self,
        family: Family,
        turn: int,
        values: Verdict,
        now: Mapping[int, Round],
        noted: Mapping[int, Round],
    ) -> None:
        subjects, facts = self._causes.of(turn, values.partings[0], now, noted, family.meant)
        if facts.get("parted_at_start"):
            subjects = {**subjects, "model": family.models}
        elif family.laid_out and apart_before(values.partings[0], now):
            facts = {**facts, "parting": LAID_OUT}
        self._tell(family_step(turn), "param.data", values, facts, subjects)

    def _tell_one(
        self,
        turn: int,
        parting: Parting,
        facts: Mapping[str, Any],
        subjects: Mapping[str, tuple[int, ...]],
    ) -> None:
        verdict = Verdict((parting.name,), (parting,))
        self._tell(family_step(turn), "param.data", verdict, facts, subjects)

    def _tell(
        self,
        step: int,
        quantity: str,
        verdict: Verdict,
        facts: Mapping[str, Any],
        subjects: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    ) -> None:
        values = {"quantity": quantity, "world_size": self._world, **facts}
        if verdict.partings:
            first = verdict.partings[0]
            values["culprit_rank"] = first.apart[0]
            ranks = ", ".join(map(str, first.ranks))
            values["ranks"] = ranks
            values["parting"] = values.get("parting", SAME).format(ranks)
        parted = {one.name for one in verdict.partings}
        members = tuple(Member(0, name, {"equal": name not in parted}) for name in verdict.names)
        self._make(values, subjects, members, step)

    def _make(
        self,
        values: dict[str, Any],
        subjects: Mapping[str, tuple[int, ...]],
        members: tuple[Member, ...],
        step: int,
    ) -> None:
        stream = self._stream
        event = stream.make(
            "state",
            stream.last_step_where or self._causes.backward_where,
            {**subjects, HEARD: (listener("optimizer", 0),)},
            values,
            stream.context(world_size=self._world, stage="train"),
            members,
            step=step,
        )
        stream.tell(event)
