"""Rows of batches by their bytes: whether what is evaluated with was trained on, whoever holds it.

Datasets of one's own do not tell which rows they give. Rows of numbers that are not whole do: two
such that are equal are copies of one.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final, final

from tcstatic.runtime.probes.samples import tensors_in

_BATCHES: Final = 16  # of a pass, the first ones, which are looked at
_PASSES: Final = 2  # over one loader
_ROWS: Final = 32  # of a batch
_LEAST_NUMBERS: Final = 4  # in a row: fewer may be equal by chance
_PIECES: Final = 4  # of a row, from its beginning to its end,
_PIECE: Final = 32  # of so many bytes
_LEAST_SHARED: Final = 4
_SHARE: Final = 0.1  # of those that would be found if all had been trained on


@final
class Kept:
    """The rows of the first batches of a pass, and of how many there are in each batch."""

    __slots__ = ("of", "rows")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.of = 1

    def takes(self, item: Any, index: int) -> bool:
        """Keep the rows of an item, by its place in the pass; return whether more are wanted."""
        tensors = list(tensors_in(item))
        found = [rows for tensor in tensors if (rows := _rows(tensor, telling=True))]
        if not found:
            return False
        # A row may hold features of two things: each is in many rows, both together in one.
        beside = [_rows(tensor, telling=False) for tensor in tensors]
        whole = [rows for rows in beside if len(rows) == len(found[0])]
        self.rows += [b"".join(parts) for parts in zip(*whole, strict=True)]
        self.of = max(self.of, *(int(tensor.shape[0]) for tensor in tensors if tensor.dim()))
        return index + 1 < _BATCHES


@final
class Prints:
    """Compares the rows of passes over loaders.

    State: `_passes` how many each loader had, by number; `_trained` the rows that were trained on
    last, `_whose` loader gave them, and what `_part` they are of all that it gives.
    """

    def __init__(self) -> None:
        self._passes: dict[int, int] = {}
        self._trained: set[bytes] = set()
        self._whose = 0
        self._part = 1.0

    def begins(self, loader: int) -> Kept | None:
        """A pass over a loader begins; return what keeps its rows, None where nothing does."""
        self._passes[loader] = passes = self._passes.get(loader, 0) + 1
        return Kept() if loader and passes <= _PASSES else None

    def trained(self, loader: int, kept: Kept, batches: int) -> None:
        """A pass was trained on, over a loader of so many batches."""
        if loader != self._whose:
            self._whose, self._trained = loader, set()
        self._trained.update(kept.rows)
        self._part = min(1.0, len(self._trained) / max(1, batches * kept.of))

    def shared(self, kept: Kept) -> bool:
        """Whether rows of a pass were trained on: more than chance and a few doubles explain."""
        rows = set(kept.rows)
        common = len(self._trained & rows)
        return common >= _LEAST_SHARED and common >= _SHARE * self._part * len(rows)


def _rows(tensor: Any, *, telling: bool) -> list[bytes]:
    """The first rows of a tensor on the host; with `telling`, where two that are equal are copies
    of one."""
    torch: Any = sys.modules["torch"]
    if type(tensor) is not torch.Tensor or not tensor.dim() or not tensor.is_cpu:
        return []
    if tensor.layout != torch.strided or not tensor.is_contiguous():
        return []
    rows, storage = min(tensor.shape[0], _ROWS), tensor.untyped_storage()
    numbers = tensor[0].numel() if rows else 0
    size, pointer = numbers * tensor.element_size(), tensor.data_ptr()
    if not numbers or not pointer or pointer + rows * size > storage.data_ptr() + storage.nbytes():
        return []
    if telling:
        if numbers < _LEAST_NUMBERS or tensor.dim() < 2 or not tensor.is_floating_point():
            return []
        first = tensor[:rows].detach()
        if bool((first == first.round()).flatten(1).all(1).any()):
            return []
    return [_bytes(pointer + row * size, size) for row in range(rows)]


def _bytes(pointer: int, size: int) -> bytes:
    read = ctypes.string_at
    if size <= _PIECES * _PIECE:
        return read(pointer, size)
    stride = (size - _PIECE) // (_PIECES - 1)
    return b"".join([read(pointer + index * stride, _PIECE) for index in range(_PIECES)])
