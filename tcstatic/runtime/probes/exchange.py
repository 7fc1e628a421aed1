"""How what ranks noted of one update meets: briefs of all, and the whole of those that differ.

A brief is two words and the sites that a rank passed, whatever the size of its model. Ranks whose
briefs agree hold the same; of those that do not, one of each kind is asked for the whole, which it
keeps for a while. Nobody waits: what was asked is answered with the next update.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from tcstatic.runtime.probes.meeting import Meeting
from tcstatic.runtime.probes.partings import Round
from tcstatic.runtime.probes.relay import Node, unfolded

KEPT: Final = 8  # updates of a family that may be asked for
SLOTS: Final = 4 * KEPT
_MOST_ASKED: Final = 64
_ASK: Final = "ask"
Turn = tuple[int, int]  # a family, and how many updates of it there were


@final
@dataclass(frozen=True, slots=True)
class Brief:
    """What tells whether two ranks noted the same: `who`, the names of what is compared and the
    ranks that share it, and what they `held`; the sites that were passed, and the rank's source."""

    who: str
    held: str
    sites: tuple[int, ...]
    source: str = ""

    @classmethod
    def of(cls, noted: Round) -> Brief:
        """The brief of what a rank noted."""
        names = [
            list(noted.values),
            sorted(noted.gradients or ()),
            noted.group,
            noted.peers,
            noted.beside,
        ]
        numbers = [noted.values, noted.gradients, noted.used, noted.rates, noted.backwards]
        about = [noted.results, noted.writer, noted.early, noted.prior, noted.steps]
        about += [noted.alone, noted.local]
        touched = [noted.touched, noted.by_torch]
        held = _word([numbers, about, touched])
        return cls(_word(names), held, noted.sites, noted.source)

    def to_text(self) -> str:
        sites = ",".join(map(str, self.sites))
        return f"{self.who} {self.held} {sites} {self.source}"

    @classmethod
    def from_text(cls, text: str) -> Brief:
        who, held, sites, source = text.split(" ")
        passed = tuple(int(site) for site in sites.split(",") if site)
        return cls(who, held, passed, source)


@final
class Exchange:
    """One rank's part in it; rank 0 compares.

    State: `_kept` what this rank has noted and may be asked for, `_answered` the last list of what
    was asked that it has read; of rank 0 `_briefs` those that have arrived, and `_asked` what it
    has asked for, as (family, turn, rank).
    """

    def __init__(self, meeting: Meeting, rank: int, world: int, node: Node | None = None) -> None:
        self._meeting = meeting
        self._node = node
        self._rank = rank
        self._world = world
        self._kept: dict[Turn, Round] = {}
        self._answered = b""
        self._briefs: dict[Turn, dict[int, Brief]] = {}
        self._asked: list[tuple[int, int, int]] = []

    def publish(self, turn: Turn, noted: Round) -> None:
        """Leave the brief of an update, and what was asked of earlier ones."""
        self._leave(_slot(turn, self._rank), f"{turn[1]} {Brief.of(noted).to_text()}")
        if self._node is not None and self._node.leads:
            keys = [_slot(turn, rank) for rank in self._node.ranks]
            self._node.folds(f"{turn[1]} ", _slot(turn, self._rank), keys)
        self._kept[turn] = noted
        mine = [one for one in self._kept if one[0] == turn[0]]
        for old in mine[:-KEPT]:
            del self._kept[old]
        self.answer()

    def answer(self) -> None:
        """Leave the whole of those updates that rank 0 has asked for."""
        if self._node is not None and self._node.leads:
            self._node.hand_on(_ASK, self._of_node)
        near = self._meeting if self._node is None else self._node.near()
        asked = None if near is None else near.look(_ASK)
        if asked is None or asked == self._answered:
            return
        self._answered = asked
        for family, turn, rank in json.loads(asked):
            noted = self._kept.pop((family, turn), None) if rank == self._rank else None
            if noted is not None:
                self._leave(_whole((family, turn), rank), noted.to_json())

    def _leave(self, key: str, text: str) -> None:
        if self._node is None:
            self._meeting.leave(key, text)
        else:
            self._node.leave(key, text)

    def _of_node(self, asked: bytes) -> list[str]:
        """Where the ranks of this node leave what is asked of them."""
        ranks = () if self._node is None else self._node.ranks
        return [
            _whole((family, turn), rank)
            for family, turn, rank in json.loads(asked)
            if rank in ranks
        ]

    def gathered(self, turn: Turn, own: Round) -> tuple[dict[int, Round], bool] | None:
        """Return what all ranks noted of an update, given rank 0's `own`, and whether all hold the
        same; None where it is not there (yet). See `awaits` for which of the two it is."""
        briefs = self._briefs.get(turn) or self._arrived(turn)
        if briefs is None:
            return None
        kinds = {(one.who, one.held): rank for rank, one in sorted(briefs.items(), reverse=True)}
        mine = Brief.of(own)
        kinds.pop((mine.who, mine.held), None)
        wholes = self._wholes(turn, kinds)
        if wholes is None:
            return None
        self._briefs.pop(turn, None)
        wholes[mine.who, mine.held] = own
        found = {0: own}
        for rank, one in briefs.items():
            whole = wholes[one.who, one.held]
            found[rank] = replace(whole, sites=one.sites, source=one.source)
        return found, len(wholes) == 1

    def awaits(self, turn: Turn) -> bool:
        """Whether all briefs of an update have arrived, and the whole of some have not."""
        return turn in self._briefs

    def _arrived(self, turn: Turn) -> dict[int, Brief] | None:
        texts = self._texts(turn)
        if texts is None:
            return None
        read = {text: Brief.from_text(text) for text in set(texts)}
        found = {rank: read[text] for rank, text in enumerate(texts, 1)}
        self._briefs[turn] = found
        for old in list(self._briefs)[: -KEPT * 2]:
            del self._briefs[old]
        return found

    def _texts(self, turn: Turn) -> list[str] | None:
        """The briefs of all other ranks, in order, once they are there."""
        node, begins = self._node, f"{turn[1]} "
        beside = range(1, self._world) if node is None else node.ranks[1:]
        near = self._meeting if node is None else node.near()
        others = range(len(beside) + 1, self._world, len(beside) + 1)
        here = _read(near, [_slot(turn, rank) for rank in beside], begins)
        there = _read(self._meeting, [_slot(turn, rank) for rank in others], begins)
        if here is None or there is None:
            return None
        return [*here, *(one for text in there for one in unfolded(text))]

    def _taken(self, keys: Mapping[int, str]) -> list[bytes] | None:
        """What ranks have answered, by rank, once all of it is there."""
        node = self._node
        if node is None:
            return self._meeting.take([*keys.values()])
        here = {rank: key for rank, key in keys.items() if rank in node.ranks}
        there = {rank: key for rank, key in keys.items() if rank not in here}
        near, found = node.near(), dict[int, bytes]()
        if near is None or (here and not near.has([*here.values()])):
            return None
        if there and not self._meeting.has([*there.values()]):
            return None
        for place, wanted in ((near, here), (self._meeting, there)):
            if wanted:
                found.update(zip(wanted, place.take([*wanted.values()]) or (), strict=False))
        return [found[rank] for rank in keys] if len(found) == len(keys) else None

    def _wholes(
        self, turn: Turn, kinds: Mapping[tuple[str, str], int]
    ) -> dict[tuple[str, str], Round] | None:
        """What one rank of each kind noted, once it has answered."""
        if not kinds:
            return {}
        wanted = [(*turn, rank) for rank in kinds.values()]
        fresh = [one for one in wanted if one not in self._asked]
        if fresh:
            self._asked = [*self._asked, *fresh][-_MOST_ASKED:]
            self._meeting.leave(_ASK, json.dumps(self._asked))
            if self._node is not None:
                self._node.leave(_ASK, json.dumps(self._asked))
            return None
        texts = self._taken({rank: _whole(turn, rank) for rank in kinds.values()})
        if texts is None:
            return None
        return {kind: Round.from_json(text) for kind, text in zip(kinds, texts, strict=True)}


def _read(place: Meeting | None, keys: Sequence[str], begins: str) -> list[str] | None:
    """Return what was left under some keys after how it `begins`, once all of it is there."""
    texts = [] if not keys else None if place is None else place.read(keys)
    found = [text.decode() for text in texts or ()]
    if texts is None or not all(text.startswith(begins) for text in found):
        return None
    return [text[len(begins) :] for text in found]


def alike(now: Mapping[int, Round]) -> dict[int, Round]:
    """Return some of the ranks that stand for all, where all hold the same: the first two, and one
    for each way through the sites."""
    ways = {one.sites: rank for rank, one in sorted(now.items(), reverse=True)}
    chosen = sorted({*sorted(now)[:2], *ways.values()})
    return {rank: now[rank] for rank in chosen}


def _slot(turn: Turn, rank: int) -> str:
    """Where a rank leaves its brief: slots are used again, so that none has to be taken away."""
    return f"{turn[0]}/{turn[1] % SLOTS}/{rank}"


def _whole(turn: Turn, rank: int) -> str:
    return f"whole/{turn[0]}/{turn[1]}/{rank}"


def _word(told: object) -> str:
    text = json.dumps(told, separators=(",", ":")).encode()
    return hashlib.blake2b(text, digest_size=12).hexdigest()
