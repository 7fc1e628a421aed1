"""What can be known of a fault on one rank: by workload and kind, what it hits, or why nothing can.

A copy elsewhere tells that two ranks differ, and what a rank did alone tells which of them is
wrong. Where there is no copy (a parameter in parts, a stage of a pipeline), only this is left: what
nothing is meant to change has changed, on one rank, once. A seed and a batch are another rank's, or
are not, and so are at most a warning: the same batch on two ranks in one step may be meant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

KINDS: Final = (
    "weight",
    "gradient",
    "rate",
    "state",
    "buffer",
    "batch",
    "rng",
    "argument",
    "result",
)
WARNED: Final = frozenset({"batch", "rng"})  # never more than a warning
IN_TORCH: Final = "no collective of its own: torch calls them, for gradients, in C++"
IN_LAYERS: Final = "what torch's parallel styles bring together within a layer is not read"
DRAWN: Final = "rows are drawn, not read: kind rng is this fault"
NO_BUFFER: Final = "it has no buffer"
NO_DRAW: Final = "nothing is drawn once its weights are"
GIVEN_ON: Final = "what a stage receives nobody else has: no second copy, no second computation"
STILL: Final = ("weight", "gradient", "rate", "state")


@final
@dataclass(frozen=True, slots=True)
class Workload:
    """A script for so many ranks: the `parameters` and `buffers` that a fault may hit, the modules
    that end with a collective of torch's (`outputs`), the seed that a disturbed rank takes for its
    own (by rank), and the kinds that nobody can see, or that cannot happen, with the reason."""

    world: int
    parameters: tuple[str, ...]
    buffers: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("",)
    seeds: tuple[int, ...] = (2, 1)
    beyond: dict[str, str] = field(default_factory=dict)

    def targets(self, kind: str) -> tuple[str, ...]:
        """What a fault of a kind may hit."""
        if kind == "buffer":
            return self.buffers
        if kind == "result":
            return self.outputs
        return self.parameters if kind in STILL else ("",)


# Whose parts no rank is without.
_NET: Final = ("up.weight", "up.bias", "norm.weight", "down.weight")
_MORE: Final = ("enter.weight", *_NET)
WORKLOADS: Final = {
    "ddp": Workload(
        2,
        ("0.weight", "0.bias", "3.weight", "3.bias"),
        ("2.0.running_mean", "2.0.running_var"),
        beyond={"batch": DRAWN, "argument": IN_TORCH, "result": IN_TORCH},
    ),
    "by_hand": Workload(
        2,
        ("0.weight", "0.bias", "2.weight", "2.bias"),
        beyond={"batch": DRAWN, "buffer": NO_BUFFER},
    ),
    "shards": Workload(
        4,
        ("0.weight", "1.norm.weight", "1.up", "2.down", "2.norm.bias", "3.weight"),
        beyond={
            "batch": DRAWN,
            "buffer": NO_BUFFER,
            "rng": NO_DRAW,
            "argument": "its collectives are a layer's, in a group: kind result stands for them",
        },
    ),
    "fsdp2": Workload(2, _NET, ("scale",)),
    "tensor": Workload(
        2,
        _MORE,
        ("scale",),
        seeds=(99, 99),
        beyond={"batch": DRAWN, "argument": IN_TORCH, "result": IN_LAYERS},
    ),
    "both": Workload(4, _MORE, ("scale",), seeds=(99, 99, 99, 99)),
    "stages": Workload(
        2,
        ("body.weight", "norm.weight", "norm.bias", "last.bias"),
        ("scale",),
        beyond={
            "batch": "the first stage alone reads rows",
            "argument": "torch sends and receives, and asks for the shapes itself",
            "result": GIVEN_ON,
        },
    ),
    "uneven": Workload(
        2,
        _NET,
        ("scale", "norm.running_mean"),
        beyond={"argument": IN_TORCH, "result": IN_TORCH},
    ),
    "ways": Workload(
        2, ("up.weight", "up.bias", "down.weight", "down.bias"), ("scale",), beyond={"batch": DRAWN}
    ),
}


def combinations(workloads: tuple[str, ...]) -> list[tuple[str, str]]:
    """The workloads and kinds that are within reach, in order."""
    return [
        (name, kind) for name in workloads for kind in KINDS if kind not in WORKLOADS[name].beyond
    ]
