"""What the ranks of a group noted of the same collectives, held side by side."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, final

PIECES: Final = 64  # digests of a window: where there are more collectives, several share one
ROUNDING: Final = 16  # of a sum over few ranks, in steps of the format's precision


@final
@dataclass(frozen=True, slots=True)
class Window:
    """What a rank of a group noted in its window number `turn`, after so many `steps`.

    Of the collectives of the group that were read: the number of the `first`, their `count`, what
    each was `asked` for, and `pieces`, digests of the results in their order. Of those that add up:
    the sums of all that this rank `gave` and `got`, that of the `sizes` given, and the coarsest
    `grain` of their formats (relative).
    """

    turn: int
    steps: int
    first: int
    count: int
    asked: tuple[str, ...]
    pieces: tuple[str, ...]
    gave: float
    sizes: float
    got: float
    grain: float

    def to_text(self) -> str:
        return json.dumps({**asdict(self), "asked": _runs(self.asked)}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: bytes) -> Window:
        data = json.loads(text)
        asked = tuple(one for one, times in data["asked"] for _ in range(times))
        return cls(**{**data, "asked": asked, "pieces": tuple(data["pieces"])})


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong: in which collective of the window, on which rank (None: not known)."""

    at: int
    rank: int | None
    how: str


def pieces_of(digests: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Return short words for what collectives gave, in order."""
    each = math.ceil(len(digests) / PIECES) or 1
    groups = [digests[at : at + each] for at in range(0, len(digests), each)]
    return tuple(
        hashlib.blake2b(json.dumps(one).encode(), digest_size=6).hexdigest() for one in groups
    )


def fault_in(windows: Mapping[int, Window], usual: Sequence[str]) -> Fault | None:
    """Judge one window of all ranks of a group, by rank; `usual` is what they last asked for alike.

    Ranks whose windows are not of the same collectives are not compared.
    """
    if len({(one.first, one.count, len(one.asked)) for one in windows.values()}) > 1:
        return None
    asked = {rank: one.asked for rank, one in windows.items()}
    if len(set(asked.values())) > 1:
        return _another_question(asked, tuple(usual))
    off = _off(windows)
    if len({one.pieces for one in windows.values()}) > 1:
        return _another_answer(windows, off)
    if len(off) == len(windows) and all(math.isfinite(one.got) for one in windows.values()):
        how = "gave all ranks the same, which is not the sum of what they gave to it"
        return Fault(0, None, how)
    return None


def _another_question(asked: Mapping[int, tuple[str, ...]], usual: tuple[str, ...]) -> Fault | None:
    common = usual if usual in asked.values() else Counter(asked.values()).most_common(1)[0][0]
    rank = next(one for one, its in asked.items() if its != common)
    other = next(one for one, its in asked.items() if its == common)
    at = next(i for i, its in enumerate(asked[rank]) if its != common[i])
    mine, theirs = asked[rank][at].split(" "), common[at].split(" ")
    if mine[0] != theirs[0]:
        return None  # two calls that were never meant for one another
    how = f"is asked by rank {rank} for {' '.join(mine[1:])}, by rank {other} for "
    return Fault(at, rank, how + " ".join(theirs[1:]))


def _another_answer(windows: Mapping[int, Window], off: Sequence[int]) -> Fault:
    answers = {rank: one.pieces for rank, one in windows.items()}
    one = next(iter(windows.values()))
    count, each = len(one.pieces), math.ceil(one.count / len(one.pieces))
    at = next(i for i in range(count) if len({its[i] for its in answers.values()}) > 1)
    first, times = Counter(its[at] for its in answers.values()).most_common(1)[0]
    odd = [rank for rank, its in answers.items() if its[at] != first]
    if 0 < len(off) < len(answers):
        how = "gave rank {} another result than the sum of what all gave to it"
        return Fault(at * each, off[0], how.format(off[0]))
    if times > len(odd):
        return Fault(at * each, odd[0], f"gave rank {odd[0]} another result than the other ranks")
    return Fault(at * each, None, "gave the ranks different results")


def _off(windows: Mapping[int, Window]) -> list[int]:
    """The ranks whose sums are not those of what all gave, by more than rounding explains."""
    gave = math.fsum(one.gave for one in windows.values())
    sizes = math.fsum(one.sizes for one in windows.values())
    grain = max(one.grain for one in windows.values())
    if not math.isfinite(gave + sizes):
        return []
    bound = (ROUNDING + len(windows)) * grain * sizes
    return [rank for rank, one in windows.items() if not abs(one.got - gave) <= bound]


def _runs(texts: Sequence[str]) -> list[list[str | int]]:
    """How often each text comes in a row."""
    found: list[list[str | int]] = []
    last, times = "", 0
    for one in texts:
        if times and one != last:
            found.append([last, times])
            times = 0
        last, times = one, times + 1
    return [*found, [last, times]] if times else found
