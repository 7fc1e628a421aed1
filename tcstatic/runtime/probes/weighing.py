"""Weights by which a sampler draws rows: of the first rows of a dataset, or of its classes."""

from __future__ import annotations

from typing import Any, Final

_CLASSES: Final = 16  # of no more weights than this nothing is told by what they are
_MANY: Final = 64
_LOOKED_AT: Final = 4096


def are_of_rows(sampler: Any) -> bool:
    """Whether weights, though fewer than there are rows, are those of rows: they repeat, as they do
    where each row has that of its class, or as many rows are drawn as there are weights."""
    count = len(sampler.weights)
    if count <= _CLASSES:
        return False
    looked = sampler.weights[:_LOOKED_AT].tolist()
    repeated = 2 * len(set(looked)) <= len(looked)
    return repeated or (count > _MANY and sampler.num_samples <= count)
