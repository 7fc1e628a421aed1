"""State of tensors, read without stopping the device: norms, comparisons, digests."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final, final

import torch

from tcstatic.runtime.probes import sums

COPY_LIMIT: Final = 32 << 20  # bytes kept for bitwise comparison; the memory promise is 40 MB
_TENSORS: Final = frozenset({torch.Tensor, torch.nn.Parameter})
_ITEM: Final[Callable[[Any], float]] = operator.methodcaller("item")
_KIND: Final[Callable[[Any], Any]] = operator.attrgetter("dtype", "is_cpu", "layout")
_STORAGE: Final[Callable[[Any], Any]] = operator.methodcaller("untyped_storage")
_BYTES: Final[Callable[[Any], int]] = operator.methodcaller("nbytes")
_PLAIN: Final = {(dtype, True, torch.strided) for dtype in (torch.float32, torch.float64)}
MOST_COPIES: Final = 32  # parameters compared per step: others wait for the next one
_SMALL: Final = frozenset({torch.float16, torch.bfloat16})
_FEW: Final = 12  # numbers that are fetched sooner one by one than stacked
_VIEWS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def local(tensor: Any) -> Any:
    """Return the part of a tensor on this rank; reading a DTensor whole issues a collective."""
    to_local = getattr(tensor, "to_local", None)
    return tensor.detach() if to_local is None else to_local().detach()


def is_lazy(tensor: Any) -> bool:
    """Tell whether a layer has yet to make this parameter, at its first forward."""
    return bool(torch.nn.parameter.is_lazy(tensor))


def readable(tensor: Any) -> bool:
    """Tell whether norms and digests of `tensor` can be taken.

    A wrapper that shards its parameters frees the storage of the whole ones between their uses; a
    lazy layer has none before its first forward.
    """
    return bool(
        not is_lazy(tensor)
        and tensor.layout == torch.strided
        and tensor.device.type != "meta"
        and (tensor.is_floating_point() or tensor.is_complex())
        and tensor.numel() > 0
        and local(tensor).untyped_storage().nbytes() > 0
    )


class Pending:
    """Numbers on their way from the device: `values` is a list of floats once they are there.

    `at_hand`: the numbers where nothing has to be waited for, None elsewhere.
    """

    __slots__ = ("_event", "_host", "_size", "at_hand")

    def __init__(self, stacked: Any, size: int) -> None:
        self.at_hand: list[float] | None = None
        self._size = size
        self._event: Any = None
        if stacked is None:
            self._host: Any = None
        elif stacked.device.type == "cuda":
            self._host = torch.empty(
                stacked.shape, dtype=stacked.dtype, device="cpu", pin_memory=True
            )
            self._host.copy_(stacked, non_blocking=True)
            event: Any = torch.cuda.Event  # torch leaves its constructor untyped
            self._event = event()
            self._event.record()
        else:
            self._host = stacked

    def arrived(self) -> list[float] | None:
        """Return the numbers where the device has got there, None elsewhere."""
        if self.at_hand is None and self._host is not None and self._event is not None:
            return self.values() if self._event.query() else None
        return self.values()

    def values(self) -> list[float]:
        """Return the numbers; waits only if the device has not reached them yet."""
        if self.at_hand is not None:
            return self.at_hand
        if self._host is None:
            return [math.nan] * self._size
        if self._event is not None:
            self._event.synchronize()
        self.at_hand = list(self._host.tolist())
        return self.at_hand


@final
class Known(Pending):
    """Numbers that are there already."""

    __slots__ = ()

    def __init__(self, numbers: list[float]) -> None:
        self.at_hand = numbers

    def values(self) -> list[float]:
        """Return the numbers."""
        return self.at_hand or []


def scalar(tensor: Any) -> Pending:
    """Return the one number in `tensor`."""
    if type(tensor) is torch.Tensor and tensor.is_cpu:
        return Known([float(tensor.item())])
    value = tensor.detach()
    if value.device.type == "cpu":
        return Known([float(value)])
    return Pending(value.double().reshape(1), 1)


def norms(tensors: Sequence[Any]) -> Pending:
    """Return the 2-norms of `tensors`, by one fused kernel per device and dtype.

    Low precision is summed in float32. Unreadable and missing ones give -1.
    """
    if _plain_on_host(tensors):
        return Known(_norms_on_host(tensors))
    with torch.no_grad():
        if _plain(tensors):
            return Pending(torch.stack(torch._foreach_norm(list(tensors), 2)), len(tensors))
        return _norms_of_any(tensors)


def gathered(numbers: Sequence[Any]) -> Pending:
    """Return single numbers, wherever each of them is, as far as 32 bits tell them."""
    with torch.no_grad():
        device = next((one.device for one in numbers if one.device.type != "cpu"), None)
        chosen = numbers[0].device if device is None else device
        stacked = torch.stack([one.to(device=chosen, dtype=torch.float32) for one in numbers])
    if device is None:
        return Known(list(stacked.tolist()))
    return Pending(stacked, len(numbers))


def norms_of_two(one: Sequence[Any], other: Sequence[Any]) -> tuple[Pending, Pending]:
    """Return the norms of two groups of tensors, read together where they are plain on the host."""
    both = [*one, *other]
    if not _plain_on_host(both):
        return norms(one), norms(other)
    numbers = _norms_on_host(both)
    return Known(numbers[: len(one)]), Known(numbers[len(one) :])


def _plain_on_host(tensors: Sequence[Any]) -> bool:
    """Tell whether all are dense float32 or all dense float64 tensors in the host's memory.

    Of some it may have been taken away (see `readable`): to read them would end the process.
    """
    try:
        kinds = set(map(_KIND, tensors))
    except AttributeError:
        return False  # a gradient is missing
    plain = len(kinds) == 1 and kinds <= _PLAIN and set(map(type, tensors)) <= _TENSORS
    return plain and _there(tensors)


def _there(tensors: Sequence[Any]) -> bool:
    """Tell whether none has lost its memory: a kernel that reads one whose storage was freed, as
    wrappers that shard do between two uses, ends the process."""
    return all(map(_BYTES, map(_STORAGE, tensors)))


def _norms_on_host(tensors: Sequence[Any]) -> list[float]:
    # A torch.no_grad() around so little work would take a tenth of its time.
    recording = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)
    try:
        found = torch._foreach_norm(list(tensors), 2)
        if len(found) > _FEW:
            numbers: list[float] = torch.stack(found).tolist()
        else:
            numbers = list(map(_ITEM, found))
    finally:
        torch._C._set_grad_enabled(recording)
    if 0.0 in numbers:
        return [n or (0.0 if t.numel() else -1.0) for n, t in zip(numbers, tensors, strict=True)]
    return numbers


def _plain(tensors: Sequence[Any]) -> bool:
    """Tell whether all are dense float32 or float64 tensors of one device and type."""
    if not tensors or tensors[0] is None:
        return False
    first = tensors[0]
    dtype, device = first.dtype, first.device
    if dtype not in (torch.float32, torch.float64) or device.type == "meta":
        return False
    return all(
        type(t) in _TENSORS
        and t.dtype == dtype
        and t.device == device
        and t.layout == torch.strided
        and t.numel()
        for t in tensors
    ) and _there(tensors)


def _norms_of_any(tensors: Sequence[Any]) -> Pending:
    usable = [i for i, t in enumerate(tensors) if t is not None and readable(t)]
    if not usable:
        return Pending(torch.full((len(tensors),), -1.0), len(tensors))
    parts = [local(tensors[i]) for i in usable]
    found: list[Any] = [None] * len(parts)
    for wide in (torch.float32, None):  # a float16 norm overflows at 65,504
        chosen = [i for i, p in enumerate(parts) if (p.dtype in _SMALL) == (wide is not None)]
        if chosen:
            results = torch._foreach_norm([parts[i] for i in chosen], 2, dtype=wide)
            for i, result in zip(chosen, results, strict=True):
                found[i] = result
    device = parts[0].device
    stacked = torch.stack([f.to(device=device, dtype=torch.float64) for f in found])
    if len(usable) == len(tensors):
        return Pending(stacked, len(tensors))
    whole = torch.full((len(tensors),), -1.0, dtype=torch.float64, device=device)
    whole[torch.tensor(usable, device=device)] = stacked
    return Pending(whole, len(tensors))


def bits(tensor: Any) -> Any:
    """Return an integer view of the element's own size (no copy where memory is dense)."""
    part = local(tensor)
    if part.is_complex():
        part = torch.view_as_real(part)
    return part.contiguous().view(_VIEWS[part.element_size()])


def digests(tensors: Sequence[Any]) -> Pending:
    """Return a wrapping integer sum of each tensor's bits, as exact whole numbers below 2**53.

    Missing and unreadable tensors give -1. A weight by place makes swapped elements show.
    """
    usable = [i for i, t in enumerate(tensors) if t is not None and readable(t)]
    with torch.no_grad():
        views = [bits(tensors[i]).flatten() for i in usable]
        devices = dict.fromkeys(view.device for view in views)
        if len(devices) == 1 and len(usable) == len(tensors):
            return Pending(sums.weighted(views), len(tensors))
        found: list[Any] = [None] * len(tensors)
        for device in devices:
            chosen = [k for k, view in enumerate(views) if view.device == device]
            told = sums.weighted([views[k] for k in chosen]).unbind()
            for k, one in zip(chosen, told, strict=True):
                found[usable[k]] = one
        return Pending(_stacked(found), len(found))


def totals(tensors: Sequence[Any]) -> Pending:
    """Return the sum of all numbers of some readable tensors of one device, and that of their
    sizes, in float64."""
    with torch.no_grad():
        parts = [local(one) for one in tensors]
        parts = [torch.view_as_real(one) if one.is_complex() else one for one in parts]
        sums = [one.sum(dtype=torch.float64) for one in parts]
        sizes = [torch.linalg.vector_norm(one, 1, dtype=torch.float64) for one in parts]
        stacked = torch.stack((sum(sums[1:], sums[0]), sum(sizes[1:], sizes[0])))
    return Known(list(stacked.tolist())) if stacked.is_cpu else Pending(stacked, 2)


def grain(tensor: Any) -> float:
    """Return the relative precision of a tensor's format."""
    return float(torch.finfo(tensor.dtype).eps)


def _stacked(numbers: Sequence[Any]) -> Any:
    """Return numbers as one vector on a device that some of them are on; -1 for None."""
    devices = [one.device for one in numbers if one is not None]
    device = next((one for one in devices if one.type != "cpu"), torch.device("cpu"))
    missing = torch.full((), -1.0, dtype=torch.float64, device=device)  # made there: nothing waits
    return torch.stack([missing if one is None else one.to(device) for one in numbers])


@final
class Copies:
    """Bitwise copies of suspicious parameters over one step."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Any, Any]] = {}
        self._bytes = 0

    def keep(self, number: int, tensor: Any, *, limit: int = COPY_LIMIT) -> bool:
        """Keep a copy for comparison; False where the memory promise would be broken."""
        size = tensor.numel() * tensor.element_size()
        if self._bytes + size > limit or len(self._kept) >= MOST_COPIES:
            return False
        self._bytes += size
        with torch.no_grad():
            self._kept[number] = (tensor, local(tensor).clone())
        return True

    def compare(self) -> dict[int, bool]:
        """Return, for each copy kept, whether its tensor is bit for bit what it was."""
        found: dict[int, bool] = {}
        if not self._kept:
            return found
        with torch.no_grad():
            for number, (tensor, copy) in self._kept.items():
                found[number] = bool(torch.equal(bits(tensor), bits(copy)))
        self._kept = {}
        self._bytes = 0
        return found


def pointer(tensor: Any) -> int:
    """Return where the data of a plain tensor begins; 0 for any other."""
    if type(tensor) not in _TENSORS or tensor.layout != torch.strided:
        return 0
    return int(tensor.data_ptr())


def is_small(tensor: Any) -> bool:
    """Whether a tensor holds floating-point numbers of 16 bits."""
    return tensor.dtype in _SMALL
