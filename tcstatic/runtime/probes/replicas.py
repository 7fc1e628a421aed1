"""Copies on several ranks: published to the launcher's store, compared when they have arrived.

No rank waits for another: each writes what it has under (step, rank), and rank 0 compares what is
there. What must be equal is declared by a wrapper, or observed: see `partings`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, final

from tcstatic.model import Member, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.family import Family
from tcstatic.runtime.probes.optimizers import Optimizer
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.partings import (
    ALONE,
    ORDER,
    Parting,
    Round,
    Verdict,
    first_difference,
    gradients_parted,
    passed_by_some,
    rates_agreed,
    values_parted,
)
from tcstatic.runtime.probes.stream import HEARD, Stream, listener
from tcstatic.runtime.probes.structure import Structure

PREFIX: Final = "tcstatic"
KEPT_STEPS: Final = 8  # steps that may wait for slower ranks
MAX_FAMILIES: Final = 16  # sets of parameters that backwards train together
_WRITES: Final = frozenset({"grad.write", "grad.clip"})
_AT_START: Final = "was changed after a wrapper had made it the same: it differs before any step"
MAX_SITES: Final = 256  # sites passed between backward and step, per step


@final
class Replicas:
    """Follows the parameters that may be copies of those on other ranks.

    State: `_families` by the models of a backward, in order of their first; `_current` the
    family whose backward came last and is not updated yet; `_local` whether that backward left its
    gradients on this rank on purpose (``no_sync()``); `_loaded` where states were loaded into
    wrapped models on this rank.
    """

    def __init__(
        self,
        stream: Stream,
        ownership: Ownership,
        structure: Structure,
        live: Callable[[], Sequence[Optimizer]],
    ) -> None:
        self._stream = stream
        self._ownership = ownership
        self._structure = structure
        self._live = live
        self._store: Any = None
        self._dist: Any = None
        self._world = 1
        self._off = False
        self._families: dict[tuple[int, ...], Family] = {}
        self._current: Family | None = None
        self._local = False
        self._places: dict[int, Site] = {}
        self._loaded: dict[int, Site] = {}

    def passed(self, site: Site) -> None:
        """A site was passed: between a backward and a step it may be where ranks part."""
        for family in self._families.values():
            if family.gradients is not None and len(family.sites) < MAX_SITES:
                family.sites.append(site.number)
                self._places[site.number] = site
                if site.kind in _WRITES or site.attribute == "grad":
                    family.written = True

    def wrote(self, site: Site, tensor: Any) -> None:
        """A site writes to a tensor in place, or to its gradient."""
        for family in self._families.values():
            if family.gradients is not None and family.holds(tensor):
                family.writer = site.number
                self._places[site.number] = site

    def loads(self, site: Site, module: Any) -> None:
        """A state is about to be loaded into a module: into one that is wrapped, it may part it."""
        number = self._stream.registry.number(module)
        if number in self._structure.replicating or number in self._structure.wrappers:
            self._loaded[number] = site

    def clipped(self, site: Site, result: Any) -> None:
        """Clipping returned the norm that it used."""
        self._places[site.number] = site
        for family in self._families.values():
            if family.gradients is None or len(family.sites) >= MAX_SITES:
                continue
            if not family.sites or family.sites[-1] != site.number:
                family.sites.append(site.number)
            if getattr(result, "numel", lambda: 0)() == 1 and result.device.type == "cpu":
                family.results[site.number] = float(result)

    @property
    def expected(self) -> bool:
        """Whether there are other ranks that may hold copies."""
        return not self._off and self._ready()

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return self._world

    def store(self) -> Any:
        """The store of the launcher's that all ranks reach, while copies are `expected`."""
        return self._store

    def round_begins(self, roots: Sequence[Any]) -> None:
        """A backward: if an update came since the last one, the state after it is what counts.

        Only to be called while copies are `expected`.
        """
        family = self._family(roots)
        self._current = family
        self._local = any(not getattr(root, "require_backward_grad_sync", True) for root in roots)
        if family is None:
            return
        if family.round < 0 or family.gradients is not None:
            family.round += 1
            self._publish(family)
            self._compare(family)

    def _family(self, roots: Sequence[Any]) -> Family | None:
        registry = self._stream.registry
        wrappers = [r for r in roots if registry.number(r) in self._structure.replicating]
        ignored = {name for one in wrappers for name in getattr(one, "parameters_to_ignore", ())}
        chosen = [
            (name, p)
            for name, p in self._ownership.parameters_of(wrappers or roots)
            if p.requires_grad and name.removeprefix("module.") not in ignored
        ]
        key = tuple(sorted(registry.number(p) for _, p in chosen))
        if key and key not in self._families:
            if len(self._families) >= MAX_FAMILIES:
                return None
            inner = [one.module for one in wrappers if hasattr(one, "module")]
            numbers = tuple(registry.number(one) for one in (*wrappers, *inner))
            group = self._declared(wrappers)
            self._families[key] = Family(len(self._families), chosen, group, numbers)
        return self._families.get(key)

    def _declared(self, wrappers: Sequence[Any]) -> tuple[int, ...]:
        """Return the ranks among which wrappers average all gradients, none where one does not.

        What a communication hook does with the gradients is its own affair (local SGD averages
        among some ranks only, or none).
        """
        groups = {
            ()
            if getattr(one, "_comm_hooks", ())
            else tuple(self._dist.get_process_group_ranks(one.process_group))
            for one in wrappers
        }
        return groups.pop() if len(groups) == 1 else ()

    def before_update(self, *, stepping: bool = False) -> None:
        """Something will use or change the gradients: note them as the backward left them.

        Gradients that were not meant to be equal yet count only where a step uses them.
        """
        family = self._current
        if family is None or (self._local and not stepping):
            return
        if family.gradients is None:
            family.gradients = measure.digests([p.grad for _, p in family.parameters])
        elif stepping and family.written and not family.group and family.used is None:
            family.used = measure.digests([p.grad for _, p in family.parameters])

    def finish(self) -> None:
        """The run ends: publish the last gradients and compare what has arrived."""
        if not self._families or not self.expected:
            return
        for family in self._families.values():
            if family.gradients is not None:
                family.round += 1
                self._publish(family, last=True)
            self._compare(family)

    def forget(self) -> None:
        """Steps go by unwatched: the next comparison starts afresh."""
        self._current = None
        for family in self._families.values():
            family.open()
            family.rounds = {}
            family.compared = (-1, {})
            # All ranks watch the same steps, so all go on at the same round.
            family.round = (self._stream.step << 8) - 1 if family.round >= 0 else -1

    def _ready(self) -> bool:
        if self._store is not None:
            return True
        dist = self._dist
        if dist is None:
            dist = getattr(sys.modules.get("torch"), "distributed", None)
            if dist is None or not dist.is_available():
                return False
            self._dist = dist
        if not dist.is_initialized():
            return False
        self._world = dist.get_world_size()
        self._stream.rank = dist.get_rank()
        if self._world < 2:
            self._off = True
            return False
        store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(PREFIX, store)
        return True

    def _publish(self, family: Family, *, last: bool = False) -> None:
        rates = [rate for one in self._live() for rate in one.group_rates()]
        noted = family.close(self._stream.step, rates, last=last)
        family.rounds[family.round] = noted
        for old in [r for r in family.rounds if r <= family.round - KEPT_STEPS]:
            del family.rounds[old]
        if self._stream.rank != 0:
            self._store.set(self._key(family, family.round, self._stream.rank), noted.to_json())

    @staticmethod
    def _key(family: Family, turn: int, rank: int) -> str:
        return f"{family.index}/{turn}/{rank}"

    def _compare(self, family: Family) -> None:
        if self._stream.rank != 0:
            return
        for turn in sorted(family.rounds):
            keys = [self._key(family, turn, rank) for rank in range(1, self._world)]
            if not self._store.check(keys):
                continue
            noted = {0: family.rounds.pop(turn)}
            for rank, key in enumerate(keys, start=1):
                noted[rank] = Round.from_json(self._store.get(key))
                self._store.delete_key(key)
            self._judge(family, turn, noted)

    def _judge(self, family: Family, turn: int, now: dict[int, Round]) -> None:
        last, noted = family.compared
        family.compared = (turn, now)
        now = {rank: one.without(family.meant) for rank, one in now.items()}
        gradients = gradients_parted(now)
        if gradients.names:
            self._tell(family_step(turn), "param.grad", gradients, {})
        values = values_parted(noted if last == turn - 1 else None, now)
        updated = any(one.gradients is not None for one in now.values())
        if values.partings:
            subjects, facts = self._divergence(family, values.partings[0], now, noted)
            self._tell(family_step(turn), "param.data", values, facts, subjects)
        elif values.names and updated:
            self._tell(family_step(turn), "param.data", values, {})
        if not gradients.partings and not values.partings:
            family.meant |= passed_by_some(now)

    def _tell(
        self,
        step: int,
        quantity: str,
        verdict: Verdict,
        facts: Mapping[str, Any],
        subjects: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    ) -> None:
        stream = self._stream
        values = {"quantity": quantity, "world_size": self._world, **facts}
        if verdict.partings:
            first = verdict.partings[0]
            values["culprit_rank"] = first.apart[0]
            values["ranks"] = ", ".join(map(str, first.ranks))
        parted = {one.name for one in verdict.partings}
        event = stream.make(
            "state",
            stream.last_step_where,
            {**subjects, HEARD: (listener("optimizer", 0),)},
            values,
            stream.context(world_size=self._world, stage="train"),
            tuple(Member(0, name, {"equal": name not in parted}) for name in verdict.names),
            step=step,
        )
        stream.tell(event)

    def _divergence(
        self,
        family: Family,
        parting: Parting,
        now: Mapping[int, Round],
        before: Mapping[int, Round],
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Return the first site after backward that only some ranks passed, or passed otherwise,
        and in words what they did otherwise."""
        apart = parting.apart[0]
        if not family.compared[0] and family.wrappers:
            return self._at_start(family)
        usual = next(rank for rank in parting.ranks if rank not in parting.apart)
        found = first_difference(now[usual], now[apart])
        site = self._places.get(found.site) or self._stream.site(found.site)
        if site is None:
            built = not rates_agreed(before, (usual, apart))
            return self._without_difference(family, usual, apart, now, built)
        owner, line = usual if found.alone else apart, site.location.line
        because = {
            ALONE: f"; only rank {owner} passes line {line}",
            ORDER: f"; rank {owner} passes line {line} in another order",
        }.get(found.how, f"; the norm at line {line} is another on rank {owner}")
        turn = family.compared[0]
        return self._parted_at(turn, site, because, {"only_on_rank": owner, "how": found.how})

    def _at_start(self, family: Family) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Return what may have parted the copies of a wrapper before any update."""
        loads = [self._loaded[one] for one in family.wrappers if one in self._loaded]
        if not loads:
            return {"model": family.wrappers}, {"parted_at_start": True, "how_parted": _AT_START}
        subjects, facts = self._parted_at(0, loads[-1], "", {"how": "loaded"})
        return subjects, {**facts, "how_parted": _AT_START}

    def _without_difference(
        self, family: Family, usual: int, apart: int, now: Mapping[int, Round], built: bool
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Return what may have parted ranks that have passed the same sites."""
        because = _rates_differ(apart, now[apart].rates, usual, now[usual].rates)
        turn = family.compared[0]
        schedule = self._schedule(family) if because else None
        if schedule is not None:
            because += f", for only some ranks pass line {schedule.location.line}"
            return self._parted_at(turn, schedule, because, {"how": "scheduled some ranks"})
        site = self._places.get(now[usual].writer)
        if not because and site is not None:
            because = f"; what line {site.location.line} writes is another on each rank"
            return self._parted_at(turn, site, because, {"how": "wrote something else"})
        kept = [one.number for one in self._live() if not one.rate_history.varied]
        numbers = tuple(kept) if because and built else ()
        facts: dict[str, Any] = {"parted_at_site": False, "built_apart": bool(numbers)}
        facts["how_parted"] = _after_step(because)
        return {"optimizer": numbers} if numbers else {}, facts

    def _schedule(self, family: Family) -> Site | None:
        """The one ``step()`` that not all ranks have called and that parted no copies at once: one
        of an optimizer does."""
        passed = [self._places.get(one) or self._stream.site(one) for one in family.meant]
        found = [site for site in passed if site is not None and site.kind == "optimizer.step"]
        return found[0] if len(found) == 1 else None

    def _parted_at(
        self, turn: int, site: Site, because: str, how: dict[str, Any]
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Tell where ranks parted."""
        subjects: dict[str, tuple[int, ...]] = {"parting": (-self._stream.sequence(),)}
        told, step = {**how, "held": True}, family_step(turn)
        event = self._stream.make("grad.write", site.location, subjects, told, step=step)
        self._stream.tell(event)
        return subjects, {"parted_at_site": True, "how_parted": _after_step(because), **how}


def _after_step(because: str) -> str:
    return f"was the same and got the same gradient, but differs after the step{because}"


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
