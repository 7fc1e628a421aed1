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

from tcstatic.model import Location, Member, Site
from tcstatic.runtime.probes import measure
from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure

PREFIX: Final = "tcstatic"
KEPT_STEPS: Final = 8  # steps that may wait for slower ranks
MAX_SITES: Final = 256  # sites passed between backward and step, per step


@final
class Replicas:
    """Follows the parameters that may be copies of those on other ranks.

    State, reset each round: `_gradients` digests before the first update, `_sites` the sites
    passed since, `_results` the norms that clipping returned. `_mine` what this rank published,
    by step, until compared; `_equal_before` the parameters found equal at the last comparison.
    """

    def __init__(self, stream: Stream, ownership: Ownership, structure: Structure) -> None:
        self._stream = stream
        self._ownership = ownership
        self._structure = structure
        self._store: Any = None
        self._world = 1
        self._off = False
        self._parameters: list[tuple[str, Any]] = []
        self._declared = False
        self._round = 0
        self._began = False
        self._gradients: measure.Pending | None = None
        self._sites: list[int] = []
        self._results: dict[int, float] = {}
        self._places: dict[int, Site] = {}
        self._records: dict[int, dict[str, Any]] = {}
        self._before: dict[int, set[str]] = {}

    def passed(self, site: Site) -> None:
        """A site was passed: between a backward and a step it may be where ranks part."""
        if self._gradients is not None and len(self._sites) < MAX_SITES:
            self._sites.append(site.number)
            self._places[site.number] = site

    def clipped(self, site: Site, result: Any) -> None:
        """Clipping returned the norm that it used."""
        if self._gradients is None:
            return
        if len(self._sites) < MAX_SITES and (not self._sites or self._sites[-1] != site.number):
            self._sites.append(site.number)
        self._places[site.number] = site
        if getattr(result, "numel", lambda: 0)() == 1 and result.device.type == "cpu":
            self._results[site.number] = float(result)

    def round_begins(self, roots: Sequence[Any]) -> None:
        """The first backward of a step: the state after the last one is what counts."""
        if self._off or self._began or not self._ready():
            return
        self._began = True
        if roots:
            self._parameters = self._chosen(roots)
        if not self._parameters:
            return
        self._publish()
        self._compare()

    def _chosen(self, roots: Sequence[Any]) -> list[tuple[str, Any]]:
        registry = self._stream.registry
        declared = [r for r in roots if registry.number(r) in self._structure.replicating]
        self._declared = bool(declared)
        chosen = self._ownership.parameters_of(declared or roots)
        return [(name, p) for name, p in chosen if p.requires_grad]

    def before_update(self) -> None:
        """Something will use or change the gradients: note them as the backward left them."""
        if self._off or self._gradients is not None or not self._began or not self._parameters:
            return
        self._gradients = measure.digests([p.grad for _, p in self._parameters])

    def finish(self) -> None:
        """The run ends: publish the last state and compare what has arrived."""
        if self._off or not self._parameters or not self._ready():
            return
        if self._gradients is not None:
            self._began = True
            self._publish()
        self._compare()

    def forget(self) -> None:
        """Steps go by unwatched."""
        self._began = False
        self._gradients = None
        self._sites, self._results = [], {}
        self._before = {}

    def _ready(self) -> bool:
        if self._store is not None:
            return True
        torch = sys.modules.get("torch")
        dist = getattr(torch, "distributed", None)
        if dist is None or not dist.is_available() or not dist.is_initialized():
            return False
        self._world = dist.get_world_size()
        self._stream.rank = dist.get_rank()
        if self._world < 2:
            self._off = True
            return False
        store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(PREFIX, store)
        return True

    def _publish(self) -> None:
        step = self._stream.step
        gradients = self._gradients.values() if self._gradients is not None else None
        record = {
            "names": [name for name, _ in self._parameters],
            "values": measure.digests([p for _, p in self._parameters]).values(),
            "gradients": gradients,
            "sites": self._sites,
            "results": self._results,
        }
        self._records[step] = record
        for old in [s for s in self._records if s <= step - KEPT_STEPS]:
            del self._records[old]
        if self._stream.rank != 0:
            self._store.set(f"{step}/{self._stream.rank}", json.dumps(record))
        self._gradients, self._sites, self._results = None, [], {}

    def round_done(self) -> None:
        """A step is done: the next backward begins a new round."""
        self._began = False

    def _compare(self) -> None:
        if self._stream.rank != 0:
            return
        for step in sorted(self._records):
            keys = [f"{step}/{rank}" for rank in range(1, self._world)]
            if not self._store.check(keys):
                continue
            others = {
                rank: json.loads(self._store.get(f"{step}/{rank}"))
                for rank in range(1, self._world)
            }
            for key in keys:
                self._store.delete_key(key)
            self._judge(step, self._records.pop(step), others)

    def _judge(self, step: int, mine: dict[str, Any], others: dict[int, dict[str, Any]]) -> None:
        names: list[str] = mine["names"]
        before = self._before.pop(step - 1, None)
        equal, culprits = _equal_names(mine, others, "values")
        same_gradients, _ = _equal_names(mine, others, "gradients")
        zero = {n for n, g in zip(names, mine["gradients"] or (), strict=False) if g in (0.0, -1.0)}
        self._before = {step: equal}
        if self._declared:
            expected = set(names)
            if mine["gradients"] is not None:
                self._tell_gradients(step, names, same_gradients)
        elif before is not None and mine["gradients"] is not None:
            expected = (before & same_gradients) - zero
        else:
            return
        parted = [n for n in names if n in expected and n not in equal]
        subjects, facts = self._divergence(step, mine, others) if parted else ({}, {})
        if parted:
            facts["culprit_rank"] = culprits.get(parted[0], 0)
        values = {"quantity": "param.data", "declared": self._declared, **facts}
        members = tuple(
            Member(0, n, {"equal": n in equal, "declared": self._declared})
            for n in names
            if n in expected
        )
        if step > 0 or parted:
            self._tell(step, subjects, values, members)

    def _tell_gradients(self, step: int, names: list[str], same: set[str]) -> None:
        members = tuple(Member(0, n, {"equal": n in same, "declared": True}) for n in names)
        self._tell(step, {}, {"quantity": "param.grad", "declared": True}, members)

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
            self.where(),
            subjects,
            {**values, "world_size": self._world},
            stream.context(world_size=self._world, stage="train"),
            members,
            step=max(step - 1, 0),
        )
        stream.tell(event)

    def where(self) -> Location | None:
        """Return the place of the last step, as the witness of a comparison."""
        return self._stream.last_step_where

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
                self._stream.make(
                    "grad.write", site.location, subjects, values, step=max(step - 1, 0)
                )
            )
            return subjects, {"parted_at_site": True, "only_on_rank": owner, "how": how}
        return {}, {"parted_at_site": False}


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
