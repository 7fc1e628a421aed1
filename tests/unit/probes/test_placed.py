"""Which parameters other ranks hold copies of, by how they are placed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from tcstatic.runtime.probes.placed import has_copies, kept

WORLD = 4


@pytest.fixture(autouse=True)
def ranks() -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=WORLD)
    yield
    dist.destroy_process_group()


def placed(shape: tuple[int, ...], *placements: Any) -> Any:
    mesh = init_device_mesh("cpu", shape)
    return DTensor.from_local(torch.ones(2, 2), mesh, placements, run_check=False)


@pytest.mark.parametrize(
    ("shape", "placements", "expected"),
    [
        ((4,), [Shard(0)], False),
        ((4,), [Replicate()], True),
        ((2, 2), [Shard(0), Shard(1)], False),
        ((2, 2), [Replicate(), Shard(0)], True),
        ((1, 4), [Replicate(), Shard(0)], False),
    ],
)
def test_a_dtensor(shape: tuple[int, ...], placements: list[Any], expected: bool) -> None:
    assert has_copies(placed(shape, *placements), WORLD) is expected


def test_a_mesh_of_some_ranks_leaves_room_for_copies_on_others() -> None:
    assert has_copies(placed((4,), Shard(0)), 2 * WORLD)


def test_plain_parameters_may_have_copies() -> None:
    assert has_copies(torch.nn.Parameter(torch.ones(2)), WORLD)


def test_a_flat_parameter_that_is_a_part() -> None:
    part = torch.nn.Parameter(torch.ones(6))
    part._unpadded_unsharded_size = torch.Size([12])  # type: ignore[attr-defined]
    assert not has_copies(part, WORLD)
    part._unpadded_unsharded_size = torch.Size([6])  # type: ignore[attr-defined]
    assert has_copies(part, WORLD)


def test_what_fully_shard_gathers_stands_for_the_part_that_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))
    fully_shard(model[0])
    fully_shard(model)
    own = dict(model.named_parameters())
    model(torch.ones(2, 4))
    gathered = dict(model.named_parameters())
    assert not isinstance(gathered["1.weight"], DTensor), "the root stays whole until its backward"
    found = dict(kept(gathered.items(), [model]))
    assert {name: one is own[name] for name, one in found.items()} == dict.fromkeys(own, True)
