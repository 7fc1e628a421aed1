"""Where the parts of a parameter lie: which ranks hold the same part as this one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

Named = Sequence[tuple[str, Any]]
_GROUPS: Final = ("_fsdp_param_groups", "_fsdp_param_group")  # of torch 2.13, and before


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


def in_parts(roots: Iterable[Any], parameters: Named) -> list[tuple[str, Any]]:
    """Return parameters, each as the part that an optimizer holds.

    Between a forward and its backward ``fully_shard`` has the whole parameters on their modules,
    whose memory it takes away later.
    """
    parts: dict[int, Any] = {}
    for root in roots:
        for module in root.modules() if hasattr(root, "_get_fsdp_state") else ():
            for one in _managed(module):
                whole, part = getattr(one, "_unsharded_param", None), one.sharded_param
                parts[id(whole)] = part
    return [(name, parts.get(id(one), one)) for name, one in parameters]


def _managed(module: Any) -> list[Any]:
    """What ``fully_shard`` keeps of the parameters of a module."""
    state = getattr(module, "_get_fsdp_state", None)
    if state is None:
        return []
    found = state()
    groups = next((g for key in _GROUPS if (g := getattr(found, key, None))), ())
    several = groups if isinstance(groups, list | tuple) else [groups]
    return [one for group in several for one in getattr(group, "fsdp_params", ())]
