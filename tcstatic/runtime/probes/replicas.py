"""Copies on several ranks: published to the launcher's store, compared when they have arrived.

No rank waits for another: each writes what it has under (step, rank), and rank 0 compares what is
there. What must be equal is declared by a wrapper, or observed: a parameter that was equal before
a step and had equal, non-zero gradients and rates in it must be equal after it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from tcstatic.model import Member, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import HEARD, Stream, listener
from tcstatic.runtime.probes.structure import Structure

PREFIX: Final = "tcstatic"
KEPT_STEPS: Final = 8  # steps that may wait for slower ranks
MAX_FAMILIES: Final = 16  # sets of parameters that backwards train together
MAX_SITES: Final = 256  # sites passed between backward and step, per step


@final
class Family:
    """The parameters that one backward trains together, and what this rank knows of them.

    State, reset each round: `gradients` digests before the first update, `sites` the sites passed
    since, `results` the norms that clipping returned. `round` counts the updates so far; `records`
    holds what this rank published, by round, until it is compared; `equal_before` the round last
    compared, with the names found equal in it.
    """

    def __init__(self, index: int, parameters: list[tuple[str, Any]], *, declared: bool) -> None:
        self.index = index
        self.parameters = parameters
        self.declared = declared
        self.round = -1
        self.gradients: measure.Pending | None = None
        self.sites: list[int] = []
        self.results: dict[int, float] = {}
        self.records: dict[int, dict[str, Any]] = {}
        self.equal_before: tuple[int, set[str]] = (-1, set())

    def record(self) -> dict[str, Any]:
        """Close the round: return what is to be compared with other ranks."""
        values = measure.digests([p for _, p in self.parameters]).values()
        closed = {
            "names": [name for name, _ in self.parameters],
            "values": values,
            "gradients": self.gradients.values() if self.gradients is not None else None,
            "sites": self.sites,
            "results": self.results,
        }
        self.gradients, self.sites, self.results = None, [], {}
        return closed


@final
class Replicas:
    """Follows the parameters that may be copies of those on other ranks.

    State: `_families` by the models of a backward, in order of their first; `_current` the
    family whose backward came last and is not updated yet; `_local` whether that backward left its
    gradients on this rank on purpose (``no_sync()``).
    """

    def __init__(self, stream: Stream, ownership: Ownership, structure: Structure) -> None:
        self._stream = stream
        self._ownership = ownership
        self._structure = structure
        self._store: Any = None
        self._dist: Any = None
        self._world = 1
        self._off = False
        self._families: dict[tuple[int, ...], Family] = {}
        self._current: Family | None = None
        self._local = False
        self._places: dict[int, Site] = {}

    def passed(self, site: Site) -> None:
        """A site was passed: between a backward and a step it may be where ranks part."""
        for family in self._families.values():
            if family.gradients is not None and len(family.sites) < MAX_SITES:
                family.sites.append(site.number)
                self._places[site.number] = site

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
        declared = [r for r in roots if registry.number(r) in self._structure.replicating]
        chosen = [
            (name, p)
            for name, p in self._ownership.parameters_of(declared or roots)
            if p.requires_grad
        ]
        key = tuple(sorted(registry.number(p) for _, p in chosen))
        if key and key not in self._families:
            if len(self._families) >= MAX_FAMILIES:
                return None
            self._families[key] = Family(len(self._families), chosen, declared=bool(declared))
        return self._families.get(key)

    def before_update(self, *, stepping: bool = False) -> None:
        """Something will use or change the gradients: note them as the backward left them.

        Gradients that were not meant to be equal yet count only where a step uses them.
        """
        family = self._current
        if self._local and not stepping:
            return
        if family is not None and family.gradients is None:
            family.gradients = measure.digests([p.grad for _, p in family.parameters])
            self._current = None

    def finish(self) -> None:
        """The run ends: publish the last state and compare what has arrived."""
        if not self._families or not self.expected:
            return
        for family in self._families.values():
            if family.gradients is not None:
                family.round += 1
                self._publish(family)
            self._compare(family)

    def forget(self) -> None:
        """Steps go by unwatched: the next comparison starts afresh."""
        self._current = None
        for family in self._families.values():
            family.gradients, family.sites, family.results = None, [], {}
            family.records = {}
            family.equal_before = (-1, set())
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

    def _publish(self, family: Family) -> None:
        record = {**family.record(), "step": self._stream.step}
        family.records[family.round] = record
        for old in [r for r in family.records if r <= family.round - KEPT_STEPS]:
            del family.records[old]
        if self._stream.rank != 0:
            key = f"{family.index}/{family.round}/{self._stream.rank}"
            self._store.set(key, json.dumps(record))

    def _compare(self, family: Family) -> None:
        if self._stream.rank != 0:
            return
        for turn in sorted(family.records):
            keys = [f"{family.index}/{turn}/{rank}" for rank in range(1, self._world)]
            if not self._store.check(keys):
                continue
            others = {
                rank: json.loads(self._store.get(key)) for rank, key in enumerate(keys, start=1)
            }
            for key in keys:
                self._store.delete_key(key)
            mine = family.records.pop(turn)
            if all(other["names"] == mine["names"] for other in others.values()):
                self._judge(family, turn, mine, others)

    def _judge(
        self, family: Family, turn: int, mine: dict[str, Any], others: dict[int, dict[str, Any]]
    ) -> None:
        names: list[str] = mine["names"]
        last, before = family.equal_before
        equal, culprits = _equal_names(mine, others, "values")
        same_gradients, _ = _equal_names(mine, others, "gradients")
        family.equal_before = (turn, equal)
        if mine["gradients"] is None and not family.declared:
            return
        zero = {n for n, g in zip(names, mine["gradients"] or (), strict=False) if g in (0.0, -1.0)}
        if family.declared:
            expected = set(names)
            if mine["gradients"] is not None:
                self._tell_gradients(family, turn, names, same_gradients)
        elif last == turn - 1:
            expected = (before & same_gradients) - zero
        else:
            return
        parted = [n for n in names if n in expected and n not in equal]
        step = family_step(turn)
        subjects, facts = self._divergence(step, mine, others) if parted else ({}, {})
        if parted:
            facts["culprit_rank"] = culprits.get(parted[0], 0)
        values = {"quantity": "param.data", "declared": family.declared, **facts}
        members = tuple(
            Member(0, n, {"equal": n in equal, "declared": family.declared})
            for n in names
            if n in expected
        )
        if mine["gradients"] is not None or parted:
            self._tell(step, subjects, values, members)

    def _tell_gradients(self, family: Family, turn: int, names: list[str], same: set[str]) -> None:
        members = tuple(Member(0, n, {"equal": n in same, "declared": True}) for n in names)
        values = {"quantity": "param.grad", "declared": True}
        self._tell(family_step(turn), {}, values, members)

    def _tell(
        self,
        step: int,
        subjects: Mapping[str, tuple[int, ...]],
        values: dict[str, Any],
        members: tuple[Member, ...],
    ) -> None:
        stream = self._stream
        event = stream.make(
            "state",
            stream.last_step_where,
            {**subjects, HEARD: (listener("optimizer", 0),)},
            {**values, "world_size": self._world},
            stream.context(world_size=self._world, stage="train"),
            members,
            step=step,
        )
        stream.tell(event)

    def _divergence(
        self, step: int, mine: dict[str, Any], others: dict[int, dict[str, Any]]
    ) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
        """Return the first site after backward that only some ranks passed, or passed otherwise."""
        for rank, other in others.items():
            number, owner, how = _first_parting(mine, other, rank)
            site = self._places.get(number) if number else None
            if number and site is None:
                site = self._stream.site(number)
            if site is None:
                continue
            mark = self._stream.sequence()
            subjects: dict[str, tuple[int, ...]] = {"parting": (-mark,)}
            values = {"only_on_rank": owner, "how": how, "held": True}
            self._stream.tell(
                self._stream.make("grad.write", site.location, subjects, values, step=step)
            )
            return subjects, {"parted_at_site": True, "only_on_rank": owner, "how": how}
        return {}, {"parted_at_site": False}


def family_step(turn: int) -> int:
    """Return the step whose outcome a round shows: the update before it."""
    return max(turn - 1, 0) if turn < 256 else (turn >> 8) + (turn & 255) - 1


def _equal_names(
    mine: dict[str, Any], others: dict[int, dict[str, Any]], key: str
) -> tuple[set[str], dict[str, int]]:
    if mine[key] is None:
        return set(), {}
    own = dict(zip(mine["names"], mine[key], strict=True))
    equal = set(own)
    culprits: dict[str, int] = {}
    for rank, other in others.items():
        theirs = dict(zip(other["names"], other[key] or (), strict=False))
        for name, value in own.items():
            if theirs.get(name) != value:
                equal.discard(name)
                culprits.setdefault(name, rank)
    return equal, culprits


def _first_parting(mine: dict[str, Any], other: dict[str, Any], rank: int) -> tuple[int, int, str]:
    """Return (site, rank that passed it, how) of the first difference; site 0 for none."""
    ours, theirs = mine["sites"], other["sites"]
    for position in range(max(len(ours), len(theirs))):
        a = ours[position] if position < len(ours) else 0
        b = theirs[position] if position < len(theirs) else 0
        if a == b:
            continue
        if a and a not in theirs[position:]:
            return a, 0, "passed by one rank only"
        if b and b not in ours[position:]:
            return b, rank, "passed by one rank only"
        return (a or b), (0 if a else rank), "passed in another order"
    for number, value in mine["results"].items():
        if other["results"].get(str(number), value) != value:
            return int(number), rank, "gave another result"
    return 0, 0, ""
