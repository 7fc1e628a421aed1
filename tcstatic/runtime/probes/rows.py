"""Which rows of which data a loader gives, as far as torch's own classes tell; no data is read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, final

Overlap = Literal["none", "within", "around", "crossing"]
_MOST: Final = 200_000  # indices that are listed: some 10 MB for two loaders
_WHOLE_SAMPLERS: Final = frozenset({"SequentialSampler", "RandomSampler", "DistributedSampler"})


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one set of data, by their index; None for all that there are."""

    data: tuple[object, ...]
    chosen: frozenset[int] | range | None

    def overlap(self, trained: Rows) -> Overlap:
        """How these rows lie to those that were trained on."""
        if self.data != trained.data:
            return "none"
        if trained.chosen is None:
            return "within"
        if self.chosen is None:
            return "around"
        common = _common(self.chosen, trained.chosen)
        if not common:
            return "none"
        if common == len(self.chosen):
            return "within"
        return "around" if common == len(trained.chosen) else "crossing"


def rows_of(loader: Any, number: Callable[[object], int]) -> Rows | None:
    """Return the rows that a loader goes over, None where its classes do not tell."""
    dataset, picked = getattr(loader, "dataset", None), _picked(loader)
    if dataset is None or picked is False:
        return None
    data: Any = sys.modules["torch"].utils.data
    chosen: Any = picked
    while isinstance(dataset, data.Subset):
        inner = dataset.indices
        if not hasattr(inner, "__len__") or len(inner) > _MOST:
            return None
        inner = inner.tolist() if hasattr(inner, "tolist") else inner
        chosen = inner if chosen is None else [inner[index] for index in chosen]
        dataset = dataset.dataset
    if isinstance(dataset, data.IterableDataset):
        return None
    if type(dataset) is data.TensorDataset:
        return _of_tensor(dataset.tensors[0], chosen)
    key = number(dataset)
    return Rows(("dataset", key), _set(chosen)) if key else None


def _picked(loader: Any) -> Any:
    """The indices that a loader's sampler picks from: None for all, False where it is not known."""
    batches = getattr(loader, "batch_sampler", None)
    if batches is not None and type(batches).__name__ != "BatchSampler":
        return False
    sampler: Any = getattr(batches if batches is not None else loader, "sampler", None)
    name = type(sampler).__name__
    if name in _WHOLE_SAMPLERS and type(sampler).__module__.startswith("torch."):
        return None
    if name == "SubsetRandomSampler":
        indices = sampler.indices
        indices = indices.tolist() if hasattr(indices, "tolist") else indices
        return indices if hasattr(indices, "__len__") and len(indices) <= _MOST else False
    return False


def _of_tensor(tensor: Any, chosen: Any) -> Rows | None:
    """Rows of a tensor are known by where they lie in memory: slices of one tensor may overlap."""
    if not tensor.dim() or tensor.is_sparse or tensor.stride(0) <= 0:
        return None
    pointer, stride = tensor.untyped_storage().data_ptr(), tensor.stride(0)
    if not pointer:
        return None
    first, column = divmod(tensor.storage_offset(), stride)
    every = range(first, first + tensor.shape[0])
    rows = every if chosen is None else frozenset(every[index] for index in chosen)
    return Rows(("tensor", str(tensor.device), pointer, tensor.dtype, stride, column), rows)


def _common(some: frozenset[int] | range, others: frozenset[int] | range) -> int:
    """How many indices two sets or ranges (of step 1) share."""
    if isinstance(some, range):
        some, others = others, some
    if not isinstance(some, range):
        return sum(index in others for index in some)
    assert isinstance(others, range)
    return max(0, min(some.stop, others.stop) - max(some.start, others.start))


def _set(chosen: Any) -> frozenset[int] | None:
    return None if chosen is None else frozenset(int(index) for index in chosen)
