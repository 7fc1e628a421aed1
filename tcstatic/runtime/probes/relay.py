"""Briefs of one node, gathered there: the job's store hears of each node once, not of each rank.

The first rank of a node serves a store for the ranks beside it, folds what they leave of an update
into one text, and hands on what is asked of them and what they answer. Nobody waits here either.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, final

from tcstatic import launching
from tcstatic.runtime.probes.meeting import Meeting

LEAST_WORLD: Final = 512  # ranks: of fewer, one reads all briefs in a millisecond or two
_HERE: Final = "localhost"
_SECONDS: Final = 5.0  # until a store of the same host has answered, or is none
_WAITING: Final = 32  # texts that wait for the node's store, updates that wait for its ranks


@final
class Node:
    """The `size` ranks of this rank's node.

    `serve` makes the node's store, on its first rank, and returns where it is; `reach` gets another
    rank there. State: `_near` the node's store once it is reached; `_unsent` what waits for that;
    of the first rank, `_open` the updates that are not folded yet, by where the fold goes, with
    where the briefs come, and `_due` the answers that are not handed on yet.
    """

    def __init__(
        self,
        far: Meeting,
        rank: int,
        size: int,
        serve: Callable[[], tuple[Meeting, str]],
        reach: Callable[[str], Meeting],
    ) -> None:
        self.ranks = range(rank - rank % size, rank - rank % size + size)
        self.leads = rank == self.ranks[0]
        self._far = far
        self._reach = reach
        self._near: Meeting | None = None
        self._unsent: list[tuple[str, str]] = []
        self._open: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._due: list[str] = []
        self._asked = b""
        if self.leads:
            self._near, address = serve()
            far.leave(self._address, address)

    @property
    def _address(self) -> str:
        return f"node/{self.ranks[0]}"

    def near(self) -> Meeting | None:
        """Return the node's store, None until its first rank serves it."""
        if self._near is None:
            address = self._far.look(self._address)
            if address is None:
                return None
            self._near = self._reach(address.decode())
            for key, text in self._unsent:
                self._near.leave(key, text)
            self._unsent = []
        return self._near

    def leave(self, key: str, text: str) -> None:
        """Leave a text in the node's store."""
        near = self.near()
        if near is not None:
            near.leave(key, text)
        else:
            self._unsent = [*self._unsent, (key, text)][-_WAITING:]

    def folds(self, begins: str, key: str, keys: Sequence[str]) -> None:
        """Hand on what the ranks leave of an update under `keys`, in their order, under `key`; the
        texts that are meant begin like this."""
        self._open[key] = (begins, tuple(keys))
        for old in list(self._open)[:-_WAITING]:
            del self._open[old]

    def hand_on(self, ask: str, wanted: Callable[[bytes], list[str]]) -> None:
        """Hand on what is there: folds; what is left under `ask`, and the answers that it asks for
        of this node, which `wanted` names."""
        near = self.near()
        if near is None:
            return
        asked = self._far.look(ask)
        if asked is not None and asked != self._asked:
            self._asked = asked
            near.leave(ask, asked.decode())
            self._due = [*dict.fromkeys([*self._due, *wanted(asked)])][-_WAITING:]
        for key in list(self._due):
            answered = near.take([key])
            if answered is not None:
                self._far.leave(key, answered[0].decode())
                self._due.remove(key)
        for key, (begins, keys) in list(self._open.items()):
            texts = [text.decode() for text in near.read(keys) or ()]
            if texts and all(text.startswith(begins) for text in texts):
                del self._open[key]
                self._far.leave(key, begins + folded([text[len(begins) :] for text in texts]))


def node_of(dist: Any, far: Meeting, rank: int, world: int) -> Node | None:
    """Return the node of a rank in a job so large that it matters; None where it is small, or where
    the launcher has not told that ranks in a row are on one host."""
    launch = launching.launch()
    place = launching.place()
    if world < LEAST_WORLD or launch is None or launch.world != world:
        return None
    if launch.here < 2 or world % launch.here or place != rank % launch.here:
        return None

    def at(port: int, *, serves: bool) -> tuple[Meeting, str]:
        wait = timedelta(seconds=_SECONDS)
        store = dist.TCPStore(_HERE, port, None, serves, wait, wait_for_workers=False)
        return Meeting(dist, store), str(store.port)

    return Node(
        far,
        rank,
        launch.here,
        functools.partial(at, 0, serves=True),
        lambda port: at(int(port), serves=False)[0],
    )


def folded(texts: Sequence[str]) -> str:
    """Return texts of ranks in order as one: those that differ by their last word alone share the
    rest."""
    found: dict[str, list[tuple[int, str]]] = {}
    for place, text in enumerate(texts):
        shared, _, own = text.rpartition(" ")
        found.setdefault(shared, []).append((place, own))
    return json.dumps(found, separators=(",", ":"))


def unfolded(text: str) -> list[str]:
    """Return the texts of ranks, in order, that were folded."""
    found: Mapping[str, list[tuple[int, str]]] = json.loads(text)
    placed = {place: f"{shared} {own}" for shared, ones in found.items() for place, own in ones}
    return [placed[place] for place in sorted(placed)]
