"""Which copies on several ranks parted: what ranks noted of one update, held side by side.

Nothing is asked of the ranks here and no tensor is read: a `Round` is numbers. Copies need not be
on all ranks. Ranks that hold one value of a parameter and have one gradient for it must hold one
value after the update, whatever the others hold (shards of tensor parallelism, experts, stages).
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, final

ALONE, ORDER, RESULT = "passed by one rank only", "passed in another order", "gave another result"
NO_GRADIENT: Final = (0.0, -1.0)  # digests of zeros, and of a gradient that is not there


@final
@dataclass(frozen=True, slots=True)
class Round:
    """What one rank notes of its copies from one update to the next.

    `values` after the update (none in the last round: what a program does once it has trained is
    its own affair) and `gradients` as the backward left them are digests by name, and so are those
    `used` by the step where they were written to since; `group` the ranks whose copies a wrapper
    keeps equal, empty where nothing declares it; `sites` the numbers of the sites passed between
    backward and update, `results` the norms that clipping gave at them, `rates` the learning rates
    of all groups of all optimizers, `writer` the last site that wrote to one of the copies, or its
    gradient (0: none), `touched` what changed of which name while nothing was meant to change it
    (see `continuity`), and `by_torch` what of it torch wrote to. `peers` are the ranks that
    hold copies, and `beside` those that share layers, as the user has said, `source` tells what it
    drew by and was given (see `sources`), `alone` that nothing brought it together with others
    (see `contact`), `local` that a wrapper was told to leave the gradients as they were, `steps`
    counts those since the last update, `backwards` those so far whose gradients the wrapper brought
    together, which all ranks do in step. In the first round `early` holds the sites that may have
    written to a weight since the wrapper made all copies equal, and `prior` those before.
    """

    step: int
    values: dict[str, float]
    gradients: dict[str, float] | None = None
    group: tuple[int, ...] = ()
    sites: tuple[int, ...] = ()
    results: dict[int, float] = field(default_factory=dict)
    rates: tuple[float | None, ...] = ()
    used: dict[str, float] | None = None
    writer: int = 0
    backwards: int = 0
    early: tuple[int, ...] = ()
    prior: tuple[int, ...] = ()
    touched: dict[str, str] = field(default_factory=dict)
    by_torch: tuple[str, ...] = ()
    steps: int = 0
    source: str = ""
    peers: tuple[int, ...] = ()
    beside: tuple[int, ...] = ()
    alone: bool = False
    local: bool = False

    @property
    def synced(self) -> tuple[int, ...]:
        """The ranks whose gradients a wrapper has made equal for this update."""
        return () if self.local else self.group

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    def without(self, sites: Collection[int]) -> Round:
        """Return what is left when it does not count who passed these sites."""
        return replace(self, sites=tuple(site for site in self.sites if site not in sites))

    @classmethod
    def from_json(cls, text: str | bytes) -> Round:
        data = json.loads(text)
        for key in ("group", "sites", "rates", "early", "prior", "by_torch", "peers", "beside"):
            data[key] = tuple(data[key])
        data["results"] = {int(site): norm for site, norm in data["results"].items()}
        return cls(**data)


@final
@dataclass(frozen=True, slots=True)
class Parting:
    """Copies of one parameter that parted: `ranks` held one value, and `apart` now differ."""

    name: str
    ranks: tuple[int, ...]
    apart: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a quantity: the names whose copies were compared, and those that parted."""

    names: tuple[str, ...]
    partings: tuple[Parting, ...]

    def since(self, noted: Mapping[int, Round]) -> Verdict:
        """Return what of it had not parted by an earlier update, which was told then."""
        fresh = [one for one in self.partings if _were_equal(noted, one.name, one.ranks)]
        return Verdict(self.names, tuple(fresh))


def values_parted(
    before: Mapping[int, Round] | None,
    now: Mapping[int, Round],
    whole: Collection[str] = (),
) -> Verdict:
    """Judge the values after an update, by rank.

    `before` is the update before it, None where that was not compared; what a wrapper declares
    equal is judged without it. Copies part once: what differed before is not told again. Of as
    many ranks on either side, those are apart that alone passed a site. `whole` are the parameters
    of which ranks that share layers hold copies.
    """
    names, found = [], []
    values = {rank: one.values for rank, one in now.items()}
    for name in _names(values.values()):
        holders = {rank: one for rank, one in now.items() if name in one.values}
        together = _classes({rank: one.synced for rank, one in holders.items() if one.synced})
        together += _classes({rank: one.peers for rank, one in holders.items() if one.peers})
        if name in whole:
            together += _classes({rank: one.beside for rank, one in holders.items() if one.beside})
        met = {rank: one for rank, one in holders.items() if not one.alone}
        own = _origins(name, before or {}, {r: one.gradients for r, one in met.items()})
        # Who has the same gradient by having the same data may have a rate of its own.
        together += _classes({rank: (*key, now[rank].rates) for rank, key in own.items()})
        used = {rank: one.used for rank, one in met.items()}
        together += _classes(_origins(name, before or {}, used))
        if together:
            names.append(name)
        new = [ranks for ranks in together if not before or _were_equal(before, name, ranks)]
        found += parted(name, new, values, now, before or {})
    return Verdict(tuple(names), tuple(found))


def alike_beside(now: Mapping[int, Round]) -> frozenset[str]:
    """Return the parameters of which all ranks that share layers hold one value: these lie there as
    a whole."""
    groups = _classes({rank: one.beside for rank, one in now.items() if one.beside})
    return frozenset(
        name
        for name in _names(one.values for one in now.values())
        if groups and all(_were_equal(now, name, ranks) for ranks in groups)
    )


def apart_before(parting: Parting, now: Mapping[int, Round]) -> bool:
    """Whether the gradients that the steps used are not known to have been the same."""
    rounds = [now[rank] for rank in parting.ranks if rank in now]
    used = {(one.used or one.gradients or {}).get(parting.name) for one in rounds}
    return len(used) != 1 or None in used


def gradients_parted(now: Mapping[int, Round], *, local: bool = False) -> Verdict:
    """Judge the gradients that a wrapper declares equal, before anything used them; or those that
    it was told to leave as they were."""
    names, found = [], []
    chosen = {r: one for r, one in now.items() if one.group and one.local is local}
    gradients = {r: one.gradients for r, one in chosen.items() if one.gradients}
    for name in _names(gradients.values()):
        together = _classes({r: now[r].group for r, theirs in gradients.items() if name in theirs})
        if together:
            names.append(name)
        found += parted(name, together, gradients, now, {})
    return Verdict(tuple(names), tuple(found))


@final
@dataclass(frozen=True, slots=True)
class Difference:
    """The first site between backward and update at which two ranks differ, and how.

    `alone`: whether the first of the two was there alone, None where both were. Site 0: none.
    """

    site: int = 0
    alone: bool | None = None
    how: str = ""


def first_difference(one: Round, other: Round) -> Difference:
    """Return where two ranks differ first."""
    ours, theirs = one.sites, other.sites
    for position in range(max(len(ours), len(theirs))):
        a = ours[position] if position < len(ours) else 0
        b = theirs[position] if position < len(theirs) else 0
        if a == b:
            continue
        if a and a not in theirs[position:]:
            return Difference(a, True, ALONE)
        if b and b not in ours[position:]:
            return Difference(b, False, ALONE)
        return Difference(a or b, bool(a), ORDER)
    for site, norm in one.results.items():
        if other.results.get(site, norm) != norm:
            return Difference(site, None, RESULT)
    return Difference()


def out_of_step(now: Mapping[int, Round]) -> tuple[int, int] | None:
    """Return a rank that has made fewer backwards for as many updates, and one that left updates
    out; None where copies that a wrapper keeps equal are updated alike."""
    for ranks in _classes({rank: one.group for rank, one in now.items() if one.group}):
        ahead = max(ranks, key=lambda rank: now[rank].backwards)
        usual = min(ranks, key=lambda rank: now[rank].backwards)
        if now[usual].backwards < now[ahead].backwards:
            return usual, ahead
    return None


def stepped_apart(
    before: Mapping[int, Round], now: Mapping[int, Round], kept: Collection[str]
) -> tuple[str, int, int] | None:
    """Return a parameter that a program kept equal on all ranks, a rank that made a step and one
    that left it out, after which its copies differ; None where there is none."""
    stepped = max(now, key=lambda rank: (now[rank].steps, -rank))
    left_out = min(now, key=lambda rank: (now[rank].steps, rank))
    if now[stepped].steps == now[left_out].steps or set(before) != set(now):
        return None
    for name in kept:
        if _were_equal(before, name, now) and not _were_equal(now, name, (stepped, left_out)):
            return name, stepped, left_out
    return None


def never_equal(before: Mapping[int, Round], now: Mapping[int, Round]) -> Parting | None:
    """Return a parameter whose copies all ranks give the same gradient, brought together by hand,
    although they were never the same; all others have one gradient on all ranks, too."""
    rounds = [one for one in now.values() if one.used and not one.group]
    if len(rounds) < len(now) or set(before) != set(now):
        return None
    names = [name for name in _names(one.used for one in rounds if one.used)]
    trained = [
        n for n in names if all(one.used.get(n) not in NO_GRADIENT for one in rounds if one.used)
    ]
    alike = all(len({one.used.get(name) for one in rounds if one.used}) == 1 for name in trained)
    if len(trained) < 2 or not alike:
        return None
    for name in trained:
        if all(len({one.values.get(name) for one in era.values()}) > 1 for era in (before, now)):
            ranks = tuple(sorted(now))
            return Parting(name, ranks, ranks[1:])
    return None


def last_alone(one: Sequence[int], other: Sequence[int]) -> tuple[int, bool] | None:
    """Return the last site that only one of two ranks has passed, and whether it was the first."""
    found = [(site, True) for site in one if site not in other]
    found += [(site, False) for site in other if site not in one]
    return max(found, default=None, key=lambda pair: (one if pair[1] else other).index(pair[0]))


def passed_by_some(now: Mapping[int, Round]) -> set[int]:
    """Return the sites that ranks passed another number of times than others."""
    counts = [Counter(one.sites) for one in now.values()]
    every = set[int]().union(*counts)
    return {site for site in every if len({count[site] for count in counts}) > 1}


def rates_agreed(rounds: Mapping[int, Round], ranks: Collection[int]) -> bool:
    """Whether all of some ranks are known to have had the same learning rates."""
    known = {rounds[rank].rates if rank in rounds else None for rank in ranks}
    return len(known) == 1 and None not in known


def _names(numbers: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for one in numbers for name in one))


def _origins(
    name: str, before: Mapping[int, Round], gradients: Mapping[int, dict[str, float] | None]
) -> dict[int, tuple[float | None, float]]:
    """Return what an update was made of by rank: the value before it, and the gradient."""
    return {
        rank: (before[rank].values.get(name), given[name])
        for rank, given in gradients.items()
        if rank in before and given and given.get(name, -1.0) not in NO_GRADIENT
    }


def _were_equal(before: Mapping[int, Round], name: str, ranks: Iterable[int]) -> bool:
    return len({before[rank].values.get(name) for rank in ranks if rank in before}) < 2


def _classes(keys: Mapping[int, Hashable]) -> list[tuple[int, ...]]:
    """Return the sets of two and more ranks that have one key."""
    found: dict[Hashable, list[int]] = {}
    for rank, key in keys.items():
        found.setdefault(key, []).append(rank)
    return [tuple(members) for members in found.values() if len(members) > 1]


def parted(
    name: str,
    together: Iterable[tuple[int, ...]],
    numbers: Mapping[int, Mapping[str, float]],
    now: Mapping[int, Round],
    before: Mapping[int, Round],
) -> list[Parting]:
    """Return where most ranks should hold one number and do not; the fewest are apart."""
    found: list[Parting] = []
    for ranks in together:
        values = {rank: numbers[rank][name] for rank in ranks}
        if len(set(values.values())) < 2:
            continue
        held: dict[float, list[int]] = {}
        for rank, value in values.items():
            held.setdefault(value, []).append(rank)
        usual = functools.partial(_usual, ranks=ranks, now=now, before=before)
        stayed = max(held.values(), key=lambda those: (len(those), usual(those)))
        found.append(Parting(name, ranks, tuple(r for r in ranks if r not in stayed)))
    return sorted(found, key=lambda one: -len(one.ranks))[:1]


def _usual(
    those: list[int],
    ranks: tuple[int, ...],
    now: Mapping[int, Round],
    before: Mapping[int, Round],
) -> tuple[bool, bool, bool, int]:
    """Order sets of as many ranks: whoever has something changed that is not meant to change, and
    that the others have not, stands out, and whoever passed a site that the others did not, or used
    another learning rate than for the update before."""
    mine = now[those[0]]
    others = [now[rank] for rank in ranks if rank not in those]
    alone = any(first_difference(mine, other).alone is True for other in others)
    known = before.get(those[0])
    kept = not touched_alone(mine, others)
    return kept, not alone, known is None or known.rates == mine.rates, -those[0]


def touched_alone(one: Round, others: Iterable[Round]) -> dict[str, str]:
    """Return what changed on one rank, by name, that did not on any of some others."""
    theirs = [other.touched for other in others]
    return {
        name: kind for name, kind in one.touched.items() if not any(name in its for its in theirs)
    }
