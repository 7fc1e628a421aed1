"""Samples: equal for equal tensors, different for others, whatever they hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.samples import sample_of, tells, tensors_in

REGISTRY = Registry()


def sample(value: Any) -> Any:
    return sample_of(value, REGISTRY)


@pytest.mark.parametrize("shape", [(3,), (4, 5), (64, 784), (1,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8])
def test_equal_tensors_have_equal_samples(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    one = (torch.rand(shape) * 100).to(dtype)
    assert sample(one) == sample(one.clone())
    assert sample(one) != sample(one + 1)


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(0),
        torch.ones(4, 4).t(),
        torch.eye(3).to_sparse(),
        torch.nn.Parameter(torch.ones(2)),
        [1, 2],
        None,
    ],
)
def test_what_cannot_be_read_has_none(value: Any) -> None:
    assert sample(value) is None


def test_a_tensor_whose_memory_is_gone_has_none() -> None:
    one = torch.ones(64)
    one.untyped_storage().resize_(0)
    assert sample(one) is None


def test_elsewhere_a_tensor_is_known_by_itself() -> None:
    one, other = torch.ones(3, device="meta"), torch.ones(3, device="meta")
    assert sample(one) == sample(one) != sample(other)
    before = sample(one)
    one.add_(1)
    assert sample(one) != before


def test_the_same_byte_all_over_tells_nothing() -> None:
    assert not tells(sample(torch.zeros(1000)))
    assert tells(sample(torch.arange(1000)))


def test_the_first_tensors_of_what_a_loader_gives() -> None:
    x, y = torch.ones(1), torch.ones(2)
    assert list(tensors_in((0, {"x": x, "y": [y, "name"]}))) == [x, y]
    assert list(tensors_in("text")) == list(tensors_in(3)) == []


def test_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    before, one = torch.get_rng_state(), torch.ones(50)
    version = one._version
    sample(one)
    assert torch.equal(before, torch.get_rng_state()) and one._version == version
