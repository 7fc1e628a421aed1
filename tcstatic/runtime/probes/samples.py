"""Samples of tensors: a few of their bytes, enough to tell one batch from another.

Read on the CPU alone, straight from memory: no operation of torch's, no random number, nothing
that waits for a device. Elsewhere a tensor's own identity and version have to do.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.roles import TENSOR, role_of

# Shape, then type and bytes; or, of a tensor elsewhere, its number and version.
Sample = tuple[tuple[int, ...], object, object]
_WHOLE: Final = 512  # bytes up to which all of a tensor is taken
_PIECES: Final = 16  # else so many pieces of it, from its beginning to its end,
_PIECE: Final = 32  # of so many bytes
_DEEPEST: Final = 3  # containers within one another


def sample_of(tensor: Any, registry: Registry) -> Sample | None:
    """Return what tells a tensor from others, None where nothing does for certain."""
    torch: Any = sys.modules["torch"]
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or not tensor.numel():
        return None
    shape = tuple(tensor.shape)
    if tensor.device.type != "cpu":
        number = registry.number(tensor)
        return (shape, number, tensor._version) if number else None
    if not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg():
        return None
    size, pointer = tensor.numel() * tensor.element_size(), tensor.data_ptr()
    storage = tensor.untyped_storage()
    if not pointer or pointer + size > storage.data_ptr() + storage.nbytes():
        return None
    return shape, tensor.dtype, _bytes(pointer, size)


def _bytes(pointer: int, size: int) -> bytes:
    read = ctypes.string_at
    if size <= _WHOLE:
        return read(pointer, size)
    stride = (size - _PIECE) // (_PIECES - 1)
    return b"".join([read(pointer + index * stride, _PIECE) for index in range(_PIECES)])


def tells(sample: Sample) -> bool:
    """Whether a sample has anything to tell: not the same byte all over."""
    told = sample[2]
    return not isinstance(told, bytes) or bool(told.strip(told[:1]))


def tensors_in(item: Any, most: int = 4, depth: int = 0) -> Iterator[Any]:
    """Yield the first tensors of what a loader gives, in order."""
    if role_of(item) == TENSOR:
        yield item
        return
    if depth == _DEEPEST:
        return
    parts = item.values() if isinstance(item, dict) else item
    if isinstance(item, dict | tuple | list):
        for part in list(parts)[:most]:
            yield from tensors_in(part, most, depth + 1)
