"""Where a parameter lies on the ranks: whether any other rank holds a copy of what this one has."""

from __future__ import annotations

import math
from typing import Any


def has_copies(parameter: Any, world: int) -> bool:
    """Tell whether some rank may hold the same part of a parameter as this one.

    A DTensor whose mesh spans all ranks (``fully_shard``, tensor parallelism) says so by its
    placements: where each of them shards, every rank has a part of its own. So has a flat parameter
    of FSDP1 that is not whole. Of all others it is not known.
    """
    placements = getattr(parameter, "placements", None)
    mesh = getattr(parameter, "device_mesh", None)
    if placements is not None and mesh is not None:
        spans_all = mesh.size() == world
        shared = any(
            one.is_replicate() and mesh.size(dimension) > 1
            for dimension, one in enumerate(placements)
        )
        return shared or not spans_all
    whole = getattr(parameter, "_unpadded_unsharded_size", None)
    return whole is None or parameter.numel() >= math.prod(whole)
