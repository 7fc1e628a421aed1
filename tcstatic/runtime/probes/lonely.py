"""What changed on one rank alone, once, while nothing was meant to change it.

Of a parameter in parts, a stage of a pipeline or a buffer no other rank has a copy, so that nothing
differs where one is written to by a library, a thread or a faulty card. That a program does so
itself, where no probe sees it, is told by its doing so again, on several ranks, or to much at a
time (bounds for all gradients, weights that are swapped): then nothing is said of that kind any
more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from tcstatic.runtime.probes.continuity import BUFFER, GONE
from tcstatic.runtime.probes.partings import Round

LEAST_OTHERS: Final = 3  # updates in which nothing of the kind has happened,
LEAST_AFTER: Final = 2  # so many of them after it


@final
@dataclass(frozen=True, slots=True)
class Touch:
    """What changed in an update, of what kind, on which rank."""

    turn: int
    name: str
    kind: str
    rank: int


@final
class Lonely:
    """Follows one family, on the rank that compares.

    State: `_turns` how many updates were judged; `_waiting` what may be told, with the number of
    updates judged by then; `_habits` the kinds, of a buffer with its name, that are the program's
    own affair, or are told.
    """

    def __init__(self) -> None:
        self._turns = 0
        self._waiting: list[tuple[int, Touch]] = []
        self._habits: set[tuple[str, str]] = set()

    def judge(self, turn: int, now: Mapping[int, Round], *, parted: bool) -> list[Touch]:
        """Take an update in, of which it is known whether copies `parted`, which is told; return
        what is now known to have been an accident, each once."""
        self._turns += 1
        for key, found in _touches(turn, now).items():
            before = [one for one in self._waiting if _key(one[1]) == key]
            if key in self._habits or before or len(found) > 1 or parted or _meant(found, now):
                self._habits.add(key)
                self._waiting = [one for one in self._waiting if one not in before]
            else:
                self._waiting.append((self._turns, found[0]))
        return self._due(LEAST_AFTER)

    def settle(self) -> list[Touch]:
        """The run ends: nothing comes after it."""
        return self._due(0)

    def _due(self, after: int) -> list[Touch]:
        ready = [
            one
            for one in self._waiting
            if self._turns > LEAST_OTHERS and self._turns - one[0] >= after
        ]
        self._waiting = [one for one in self._waiting if one not in ready]
        self._habits |= {_key(touch) for _, touch in ready}
        return [touch for _, touch in ready]


def _touches(turn: int, now: Mapping[int, Round]) -> dict[tuple[str, str], list[Touch]]:
    found: dict[tuple[str, str], list[Touch]] = {}
    for rank, one in now.items():
        for name, kind in one.touched.items():
            touch = Touch(turn, name, kind, rank)
            found.setdefault(_key(touch), []).append(touch)
    return found


def _meant(found: Sequence[Touch], now: Mapping[int, Round]) -> bool:
    """Whether torch itself has written there, as a program has it do: memory that goes wrong, or a
    kernel that writes where it should not, are not counted by it."""
    return any(one.kind == GONE or one.name in now[one.rank].by_torch for one in found)


def _key(touch: Touch) -> tuple[str, str]:
    return (touch.kind, touch.name if touch.kind == BUFFER else "")
