"""How the ranks of a job are laid out, where a program does not show it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, final

# By what its ranks share: whole copies; the input of layers that lie in parts on them; neither.
COPIES: Final = frozenset("data dp ddp replicate dp_replicate context cp".split())
LAYERS: Final = frozenset("tensor tp model mp sequence sp".split())
PARTS: Final = frozenset("shard fsdp dp_shard pipeline pp stage expert ep".split())
_AXIS: Final = re.compile(r"\s*(\w+)\s*=\s*(\d+)\s*")


@final
@dataclass(frozen=True, slots=True)
class Mesh:
    """The axes, by name and number of ranks; the last varies fastest, as in torch's
    ``init_device_mesh``: ``data=2,tensor=2`` has ranks 0 and 1 share layers."""

    axes: tuple[tuple[str, int], ...]

    @classmethod
    def from_text(cls, text: str) -> Mesh:
        """Read ``NAME=RANKS,...``. Raises ValueError that says what was expected."""
        axes = []
        for part in text.split(","):
            match = _AXIS.fullmatch(part)
            if match is None or not int(match[2]):
                raise ValueError(f"{part.strip()!r} is no NAME=RANKS, such as data=2")
            name = match[1].lower()
            if name not in COPIES | LAYERS | PARTS:
                known = "data, shard, tensor, context, pipeline, expert"
                raise ValueError(f"no axis is called {name!r}; known are {known}")
            axes.append((name, int(match[2])))
        if len({name for name, _ in axes}) < len(axes):
            raise ValueError("an axis is named twice")
        return cls(tuple(axes))

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return math.prod(size for _, size in self.axes)

    def peers(self, rank: int, names: Collection[str]) -> tuple[int, ...]:
        """Return the ranks, with this one, whose places differ along axes of these names alone."""
        sizes = [size for _, size in self.axes]
        strides = [math.prod(sizes[at + 1 :]) for at in range(len(sizes))]
        placed = [
            range(size) if name in names else (rank // stride % size,)
            for (name, size), stride in zip(self.axes, strides, strict=True)
        ]
        return tuple(
            sum(place * stride for place, stride in zip(places, strides, strict=True))
            for places in itertools.product(*placed)
        )
