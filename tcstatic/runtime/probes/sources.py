"""Which ranks draw by one seed, and which are given one batch: whether that changes by accident.

Data ranks have seeds and batches of their own, ranks that share layers have one for all. Neither is
declared; what it is shows in the updates before. A pattern that changes for all ranks, or more than
once, is the program's own affair.
"""

from __future__ import annotations

import ctypes
import sys
import zlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

LEAST_BEFORE: Final = 3  # updates in which a pattern of batches was seen: of seeds, one will do
LEAST_AFTER: Final = 2  # updates in which it is what it became,
MOST_AFTER: Final = 20  # or what it was before, for so long
MOST_BATCHES: Final = 4_096  # that are remembered
LEAST_ROWS: Final = 2  # of a batch: single rows may come twice by chance
Pattern = frozenset[frozenset[int]]
HOW: Final = {
    ("seeded", True): "rank {} draws its random numbers by the seed of rank {} from here on",
    ("seeded", False): "rank {} draws its random numbers by another seed than rank {} from here on",
    ("fed", True): "rank {} was given the batch of rank {} once",
    ("fed", False): "rank {} was given another batch than rank {} once",
}


@final
@dataclass(frozen=True, slots=True)
class Source:
    """What a rank drew by, whether it drew since the update before, and the batch that it was
    given, '' where that is not known, by the loop at this site."""

    seed: str
    drew: bool
    batch: str
    loop: int = 0

    def to_text(self) -> str:
        return f"{self.seed}{'+' if self.drew else '-'}{self.loop}:{self.batch}"

    @classmethod
    def from_text(cls, text: str) -> Source:
        drew = "+" in text
        seed, _, given = text.partition("+" if drew else "-")
        loop, _, batch = given.partition(":")
        return cls(seed, drew, batch, int(loop))


@final
class Drawing:
    """One rank's own. State: `_batch` the last batch and its loop, `_left` the generators as last
    seen."""

    def __init__(self) -> None:
        self._batch = ("", 0)
        self._left: object = None

    def given(self, word: str, loop: int) -> None:
        """A batch was taken."""
        self._batch = (word, loop)

    def told(self) -> str:
        """Return what is so since this was asked last."""
        batch, self._batch = self._batch, ("", 0)
        seed, now = _generators()
        drew, self._left = self._left is not None and now != self._left, now
        return Source(f"{seed:x}", drew, *batch).to_text()


@final
@dataclass(frozen=True, slots=True)
class Odd:
    """A rank that is another than before in one update: whether it `joined` other ranks, of which
    this is the first, or left them (`other` is one of those)."""

    turn: int
    rank: int
    other: int
    joined: bool


@final
class Follower:
    """Follows one pattern. `stays`: whether an accident changes it for good, or in one update.

    State: `_keys` as they were last; `_usual` the pattern and `_seen` how often it was seen in a
    row; `_odd` what may be told, with the pattern of then, and `_after` how many updates have
    confirmed it; `_over`.
    """

    def __init__(self, *, stays: bool) -> None:
        self._stays = stays
        self._least = 1 if stays else LEAST_BEFORE
        self._keys: Mapping[int, Hashable] = {}
        self._usual: Pattern | None = None
        self._seen = 0
        self._odd: tuple[Odd, Pattern] | None = None
        self._after = 0
        self._over = False

    def judge(self, turn: int, keys: Mapping[int, Hashable], *, layered: bool) -> Odd | None:
        """Take an update in, by rank; return what is now known to have been an accident.

        `layered`: ranks share layers. Where they do not, to leave others does no harm.
        """
        if self._over:
            return None
        pattern = _pattern(keys)
        same = {rank for rank, key in keys.items() if self._keys.get(rank) == key}
        self._keys = keys
        if self._odd is not None:
            return self._confirm(pattern)
        if pattern == self._usual:
            self._seen += 1
            return None
        odd = None if self._usual is None else _moved(turn, self._usual, pattern, same)
        if odd is not None and self._seen >= self._least and (odd.joined or layered):
            self._odd = (odd, pattern)
        else:
            self._usual, self._seen = pattern, 1
        return None

    def settle(self) -> Odd | None:
        """The run ends: nothing comes after it."""
        found = None if self._over or self._odd is None else self._odd[0]
        self._over = True
        return found

    def _confirm(self, pattern: Pattern) -> Odd | None:
        if self._odd is None or pattern != (self._odd[1] if self._stays else self._usual):
            self._over = True
            return None
        self._after += 1
        return (
            self.settle() if self._after >= (LEAST_AFTER if self._stays else MOST_AFTER) else None
        )


@final
class Sources:
    """Follows one family, on the rank that compares.

    State: `_batches` by the site of a loop: what one loop gives to all ranks is not held beside
    what another gives; `_given` the ranks of each batch, of those that came last.
    """

    def __init__(self, *, layered: bool) -> None:
        self._layered = layered
        self._seeds = Follower(stays=True)
        self._batches: dict[int, Follower] = {}
        self._given: dict[str, set[int]] = {}

    def judge(self, turn: int, told: Mapping[int, str]) -> tuple[Odd | None, Odd | None]:
        """Take in what all ranks told of an update; return seeds, and batches, that are odd."""
        found = {rank: Source.from_text(text) for rank, text in told.items() if text}
        if len(found) < len(told):
            return None, None
        seeds = {rank: one.seed for rank, one in found.items()}
        drawn = all(one.drew for one in found.values())
        return (
            self._seeds.judge(turn, seeds, layered=self._layered) if drawn else None,
            self._judge_batches(turn, found),
        )

    def settle(self) -> tuple[Odd | None, Odd | None]:
        """The run ends."""
        odd = [self._unless_by_chance(one.settle()) for one in self._batches.values()]
        return self._seeds.settle(), next(filter(None, odd), None)

    def _judge_batches(self, turn: int, found: Mapping[int, Source]) -> Odd | None:
        batches = {rank: one.batch for rank, one in found.items()}
        loops = {one.loop for one in found.values()}
        if not all(batches.values()) or len(loops) > 1:
            return None
        for rank, word in batches.items():
            self._given.setdefault(word, set()).add(rank)
        for old in list(self._given)[:-MOST_BATCHES]:
            del self._given[old]
        follower = self._batches.setdefault(loops.pop(), Follower(stays=False))
        return self._unless_by_chance(follower.judge(turn, batches, layered=self._layered))

    def _unless_by_chance(self, odd: Odd | None) -> Odd | None:
        """Of rows that are few, or drawn by chance, batches of one rank come to others as well, now
        and then: far more often at another time than at the same."""
        if self._layered or odd is None:
            return odd
        return None if sum(len(ranks) > 1 for ranks in self._given.values()) > 1 else odd


def are_layers(parameters: Iterable[Any], roots: Iterable[Any]) -> bool:
    """Whether ranks hold parts of one layer, for one batch: not only to save memory, as parts of
    ``fully_shard`` do."""
    sharded = any(hasattr(one, "_get_fsdp_state") for root in roots for one in root.modules())
    for one in parameters:
        parts = [placed for placed in getattr(one, "placements", ()) if placed.is_shard()]
        if len(parts) > sharded:
            return True
    return False


def _pattern(keys: Mapping[int, Hashable]) -> Pattern:
    found: dict[Hashable, set[int]] = {}
    for rank, key in keys.items():
        found.setdefault(key, set()).add(rank)
    return frozenset(map(frozenset, found.values()))


def _moved(turn: int, old: Pattern, new: Pattern, same: Collection[int]) -> Odd | None:
    """Return the one rank that is with others now, none of those whose key is the `same`; None
    where several are."""
    ranks = sorted(frozenset[int]().union(*old))
    if ranks != sorted(frozenset[int]().union(*new)):
        return None
    movers = [rank for rank in ranks if _without(old, rank) == _without(new, rank)]
    movers = [rank for rank in movers if rank not in same]
    if not movers:
        return None
    sizes = Counter({rank: len(_with(old, rank)) for rank in movers})
    rank = min(movers, key=lambda one: (sizes[one], -one))
    joined, left = sorted(_with(new, rank) - {rank}), sorted(_with(old, rank) - {rank})
    if joined:
        return Odd(turn, rank, joined[0], True)
    return Odd(turn, rank, left[0], False) if left else None


def _without(pattern: Pattern, rank: int) -> Pattern:
    return frozenset(rest for one in pattern if (rest := one - {rank}))


def _with(pattern: Pattern, rank: int) -> frozenset[int]:
    return next(one for one in pattern if rank in one)


def _generators() -> tuple[int, object]:
    """The seed that random numbers are drawn by, and what changes with each number drawn."""
    torch: Any = sys.modules["torch"]
    host = torch.default_generator
    state = host.get_state()
    seen: list[object] = [zlib.crc32(ctypes.string_at(state.data_ptr(), state.numel()))]
    cuda = torch.cuda
    if cuda.is_initialized() and not cuda.is_current_stream_capturing():
        seen.append(cuda.default_generators[cuda.current_device()].get_offset())
    return host.initial_seed(), seen
