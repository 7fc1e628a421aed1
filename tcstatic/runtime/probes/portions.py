"""Whether ranks that average their gradients are given batches of their own.

The first batches of a loop are published to the launcher's store; nobody waits for another rank.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, final

from tcstatic.runtime.probes.replicas import Replicas
from tcstatic.runtime.probes.samples import sample_of, tells, tensors_in
from tcstatic.runtime.probes.sources import LEAST_ROWS
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.structure import Structure

BATCHES: Final = 3  # of the first pass of a loop


@final
class Portions:
    """Publishes what each loop is given first, and compares it.

    State: `_mine` what this rank was given first, by the site of the loop; `_done` the loops that
    are judged, or cannot be; `_unknown` those whose items cannot be told from one another.
    """

    def __init__(self, stream: Stream, replicas: Replicas, structure: Structure) -> None:
        self._stream = stream
        self._replicas = replicas
        self._structure = structure
        self._mine: dict[int, list[str]] = {}
        self._done: set[int] = set()
        self._unknown: set[int] = set()

    def wanted(self, site: int) -> bool:
        """Whether the items of a loop are to be published."""
        return site not in self._unknown and self._replicas.expected

    def takes(self, site: int, item: Any) -> bool:
        """A turn of a loop takes an item; return whether the next is wanted as well."""
        if not self._replicas.expected:
            return False
        samples = [sample_of(tensor, self._stream.registry) for tensor in tensors_in(item)]
        told = [one for one in samples if one is not None and tells(one)]
        if not told or not all(isinstance(one[2], bytes) for one in told):
            self._unknown.add(site)
            return False
        word = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
        if max(one[0][0] if one[0] else 0 for one in told) >= LEAST_ROWS:
            self._replicas.drawing.given(word, site)
        mine = self._mine.setdefault(site, [])
        if len(mine) < BATCHES and self._structure.replicating:
            mine.append(word)
            if len(mine) == BATCHES and self._stream.rank:
                self._replicas.leave(f"data/{site}/{self._stream.rank}", " ".join(mine))
        return True

    def alike(self, site: int) -> bool | None:
        """Return whether all ranks were given the same, None where that is not known (yet)."""
        mine = self._mine.get(site, [])
        if site in self._done or self._stream.rank or len(mine) < BATCHES:
            return None
        world = self._replicas.world
        if not self._spans(world):
            self._done.add(site)
            return None
        keys = [f"data/{site}/{rank}" for rank in range(1, world)]
        if (left := self._replicas.take(keys)) is None:
            return None
        self._done.add(site)
        theirs = {text.decode() for text in left}
        return theirs == {" ".join(mine)} and len(set(mine)) == BATCHES

    def _spans(self, world: int) -> bool:
        """Whether one model is averaged over all ranks."""
        for number in self._structure.replicating:
            group = getattr(self._stream.registry.thing(number), "process_group", None)
            if group is not None and group.size() == world:
                return True
        return False
