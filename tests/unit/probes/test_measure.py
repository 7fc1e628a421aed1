"""Reading tensors: norms, bitwise views, copies, digests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tcstatic.runtime.probes.measure import MOST_COPIES, Copies, bits, digests, norms, readable


def test_norms_of_halves_do_not_overflow() -> None:
    halves = torch.full((16,), 60000.0, dtype=torch.float16)
    (got,) = norms([halves]).values()
    assert got == pytest.approx(4 * 60000.0, rel=1e-3)


def test_norms_of_anything() -> None:
    tensors = [
        torch.full((4,), 3.0),
        None,
        torch.full((4,), 3.0, dtype=torch.float64),
        torch.tensor([3 + 4j]),
        torch.empty(0),
        torch.ones(3, dtype=torch.int64),
        torch.ones(3, device="meta"),
        torch.ones(3).to_sparse(),
        torch.tensor([math.nan, 1.0]),
        torch.nn.Parameter(torch.tensor([math.inf])),
    ]
    got = norms(tensors).values()
    assert math.isnan(got.pop(8))
    assert got == pytest.approx([6, -1, 6, 5, -1, -1, -1, -1, math.inf])
    assert norms([]).values() == []
    assert norms([None, None]).values() == [-1, -1]


def test_norms_of_what_was_freed() -> None:
    whole = torch.ones(6)
    parts = [nn.Parameter(whole[:2]), nn.Parameter(whole[2:]), nn.Parameter(torch.ones(4))]
    whole.untyped_storage().resize_(0)
    assert norms(parts).values() == [-1.0, -1.0, 2.0]


def test_norms_of_mixed_precision() -> None:
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    tensors = [torch.full((4,), 3.0, dtype=dtype) for dtype in dtypes]
    assert norms([*tensors, None]).values() == [6, 6, 6, -1]


def test_norms_are_read_when_they_are_taken() -> None:
    tensor = torch.ones(4)
    before = norms([tensor])
    tensor.mul_(3.0)
    assert (before.values(), norms([tensor]).values()) == ([2.0], [6.0])


def test_norms_leave_no_graph_and_no_version() -> None:
    tensor = torch.ones(3, requires_grad=True)
    norms([tensor])
    digests([tensor])
    assert tensor._version == 0
    assert tensor.grad_fn is None


DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.float8_e5m2,
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 3, 7])
def test_bits_of_any_element_size(dtype: torch.dtype, size: int) -> None:
    tensor = torch.ones(size).to(dtype)
    view = bits(tensor)
    assert not view.is_floating_point()
    assert view.numel() == size * (2 if dtype.is_complex else 1)
    if not dtype.is_complex:
        assert view.data_ptr() == tensor.data_ptr()


def test_bits_tell_what_equality_does_not() -> None:
    assert not torch.equal(bits(torch.tensor([0.0])), bits(torch.tensor([-0.0])))
    nan = torch.tensor([math.nan])
    assert torch.equal(bits(nan), bits(nan.clone()))
    turned = torch.arange(6.0).reshape(2, 3).t()
    assert torch.equal(bits(turned).view(torch.float32), turned)


@pytest.mark.parametrize("dtype", DTYPES[:5], ids=str)
def test_copies_are_compared_bit_for_bit(dtype: torch.dtype) -> None:
    same, flipped, nan = (torch.linspace(1, 2, 5).to(dtype) for _ in range(3))
    nan[0] = math.nan
    copies = Copies()
    for number, tensor in enumerate((same, flipped, nan)):
        assert copies.keep(number, tensor)
    flipped.neg_()
    assert copies.compare() == {0: True, 1: False, 2: True}
    assert copies.compare() == {}


def test_copies_keep_within_their_memory() -> None:
    copies = Copies()
    assert copies.keep(1, torch.ones(10), limit=60)
    assert not copies.keep(2, torch.ones(10), limit=60)
    assert copies.keep(3, torch.ones(5), limit=60)
    assert set(copies.compare()) == {1, 3}
    assert copies.keep(4, torch.ones(15), limit=60)  # what was compared takes no room
    copies.compare()
    kept = [copies.keep(number, torch.ones(1)) for number in range(MOST_COPIES + 2)]
    assert kept == [True] * MOST_COPIES + [False] * 2


def digest(tensor: Any) -> float:
    return digests([tensor]).values()[0]


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
def test_digests_of_swapped_neighbours_differ(dtype: torch.dtype) -> None:
    tensor = torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0]).to(dtype)
    swapped = tensor[[1, 0, 2, 3, 4]]
    assert digest(tensor) == digest(tensor.clone())
    assert digest(tensor) != digest(swapped)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[2:3].neg_(),
        lambda t: t[1:3].neg_(),  # two sign flips cancel in a sum that wraps
        lambda t: t[4:5].nextafter_(torch.tensor([9.0])),
        lambda t: t.zero_(),
    ],
)
def test_digests_of_small_changes_differ(change: Any) -> None:
    tensor = torch.linspace(1.0, 2.0, 5)
    before = digest(tensor)
    change(tensor)
    assert digest(tensor) != before


def test_digests_are_exact_whole_numbers() -> None:
    tensors = [torch.randn(1001, generator=torch.Generator().manual_seed(n)) for n in range(5)]
    for value in digests(tensors).values():
        assert value == int(value)
        assert 0 <= value < 2**53
    assert digests([None, torch.ones(2).to_sparse(), torch.empty(0)]).values() == [-1, -1, -1]


def test_a_digest_is_that_of_its_tensor_whatever_others_are_read_with_it() -> None:
    chooser = torch.Generator().manual_seed(0)
    shapes = [(7,), (0,), (300, 200), (3, 5, 7), (2048, 16), (33000,), (7,)]
    tensors = [torch.randn(shape, generator=chooser) for shape in shapes]
    tensors += [tensors[2].to(torch.bfloat16), tensors[2].double(), tensors[2].T]
    found = digests([*tensors, None]).values()
    assert found == [*map(digest, tensors), -1.0]
    assert len(set(found)) == len(found) - 1, "the empty one and the missing one"


@pytest.mark.parametrize("place", [0, 1023, 1024, 33000 - 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_one_element_of_many_shows(place: int, dtype: torch.dtype) -> None:
    tensor = torch.linspace(1.0, 2.0, 33000).to(dtype)
    changed = tensor.clone()
    changed[place] *= 1.5
    assert digest(changed) != digest(tensor)
    swapped = tensor.clone()
    swapped[[place, 5000]] = swapped[[5000, place]]
    assert digest(swapped) != digest(tensor)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.ones(1), True),
        (torch.ones(1, dtype=torch.complex64), True),
        (torch.ones(0), False),
        (torch.ones(1, dtype=torch.int32), False),
        (torch.ones(1, device="meta"), False),
        (torch.ones(1).to_sparse(), False),
    ],
)
def test_readable(tensor: torch.Tensor, expected: bool) -> None:
    assert readable(tensor) is expected


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_reading_a_dtensor_issues_no_collective() -> None:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh
    from torch.distributed.tensor.debug import CommDebugMode

    mesh = init_device_mesh("cpu", (1,))
    plain = torch.linspace(1.0, 2.0, 6)
    for placement in (Shard(0), Replicate()):
        tensor = distribute_tensor(plain, mesh, [placement])
        copies = Copies()
        with CommDebugMode() as seen:
            assert norms([tensor]).values() == pytest.approx(norms([plain]).values())
            assert digests([tensor]).values() == digests([plain]).values()
            copies.keep(1, tensor)
            assert copies.compare() == {1: True}
        assert seen.get_total_counts() == 0
