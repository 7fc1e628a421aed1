"""Where the parts of a parameter lie: which ranks hold the same part as this one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

MAX_BUFFERS: Final = 256  # of the models of a backward
_STATE: Final = "_get_fsdp_state"  # what ``fully_shard`` adds to a module's class


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


def kept(named: Iterable[tuple[str, Any]], roots: Iterable[Any]) -> list[tuple[str, Any]]:
    """Return parameters as this rank keeps them from step to step.

    Between forward and backward ``fully_shard`` registers whole ones, whose memory is freed
    afterwards; each stands for a part that stays. Where torch does not say for which, plain ones
    are left out.
    """
    sharded = [one for root in roots for one in root.modules() if hasattr(one, _STATE)]
    records = [one for module in sharded for one in _gathered(module)]
    parts = {id(getattr(one, "_unsharded_param", None)): one.sharded_param for one in records}
    found = [(name, parts.get(id(parameter), parameter)) for name, parameter in named]
    if sharded and not records:
        return [(name, one) for name, one in found if hasattr(one, "placements")]
    return found


def _gathered(module: Any) -> Iterator[Any]:
    """Yield torch's own records of what ``fully_shard`` gathers for a module."""
    state = getattr(module, _STATE)()
    groups = getattr(state, "_fsdp_param_groups", None)  # since torch 2.12; one group before
    if groups is None:
        groups = filter(None, [getattr(state, "_fsdp_param_group", None)])
    for group in groups:
        yield from getattr(group, "fsdp_params", ())


def buffers_of(roots: Sequence[Any]) -> list[tuple[str, Any]]:
    """The numbers that models keep beside their parameters."""
    found = {
        id(one): (name, one)
        for root in roots
        for name, one in root.named_buffers()
        if one.is_floating_point()
    }
    return list(found.values())[:MAX_BUFFERS]
