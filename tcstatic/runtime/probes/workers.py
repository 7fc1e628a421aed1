"""What the workers of a loader give: whether it is the same, and whether they are seeded alike."""

from __future__ import annotations

import dis
from typing import Any

from tcstatic.runtime.probes.samples import Sample
from tcstatic.runtime.probes.signatures import unwrapped


def seeds_alike(function: Any) -> bool:
    """Whether what is run in each new worker sets a seed, and asks for no worker's own."""
    code = getattr(unwrapped(function), "__code__", None)
    if code is None or not any("seed" in name for name in code.co_names):
        return False
    own = {"initial_seed", "get_worker_info", "seed_all"} & set(code.co_names)
    loaded = {
        one.argval for one in dis.get_instructions(code) if one.opname.startswith("LOAD_FAST")
    }
    return not own and not loaded & set(code.co_varnames[: code.co_argcount])


def gives_alike(samples: list[tuple[Sample, ...]], workers: int) -> bool:
    """Whether all workers give the same in each round, and each round something else."""
    rounds = [samples[first : first + workers] for first in range(0, len(samples), workers)]
    if not all(one for turn in rounds for one in turn):
        return False
    same = all(one == turn[0] for turn in rounds for one in turn)
    return same and len({turn[0] for turn in rounds}) == len(rounds)
