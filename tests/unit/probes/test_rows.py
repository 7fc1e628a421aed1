"""Rows that loaders give: known without reading any."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.rows import Rows, rows_of

BASE = torch.arange(40.0).reshape(20, 2)


class Unreadable(Dataset[Any]):
    """Fails if it is read."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("data was read")


class Stream(IterableDataset[Any]):
    """Has no rows that could be counted."""

    def __iter__(self) -> Any:
        raise AssertionError("data was read")


WHOLE = TensorDataset(BASE)
OWN = Unreadable()
REGISTRY = Registry()


def rows(loader: Any) -> Rows | None:
    return rows_of(loader, REGISTRY.number)


@pytest.mark.parametrize(
    ("trained", "evaluated", "overlap"),
    [
        (WHOLE, WHOLE, "within"),
        (TensorDataset(BASE[:12]), TensorDataset(BASE[12:]), "none"),
        (TensorDataset(BASE[:12]), TensorDataset(BASE[10:]), "crossing"),
        (TensorDataset(BASE[:12]), TensorDataset(BASE), "around"),
        (TensorDataset(BASE[:, :1]), TensorDataset(BASE[:, 1:]), "none"),
        (WHOLE, TensorDataset(BASE.clone()), "none"),
        (Subset(OWN, range(12)), Subset(OWN, range(12, 20)), "none"),
        (Subset(OWN, [0, 1, 2]), Subset(OWN, [2, 3]), "crossing"),
        (Subset(Subset(OWN, range(10)), [3, 4]), Subset(OWN, [3]), "within"),
        (OWN, Subset(OWN, [3]), "within"),
        (Subset(OWN, [3]), OWN, "around"),
        (OWN, Unreadable(), "none"),
    ],
)
def test_rows_overlap(trained: Any, evaluated: Any, overlap: str) -> None:
    first, second = rows(DataLoader(trained)), rows(DataLoader(evaluated))
    assert first is not None and second is not None
    assert second.overlap(first) == overlap


def test_a_sampler_picks_rows() -> None:
    picked = rows(DataLoader(OWN, sampler=SubsetRandomSampler([1, 2])))
    shuffled = rows(DataLoader(OWN, shuffle=True))
    assert picked is not None and picked.chosen == {1, 2}
    assert shuffled is not None and shuffled.chosen is None


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Stream()),
        DataLoader(OWN, sampler=WeightedRandomSampler([1.0] * 20, 4)),
        DataLoader(OWN, batch_sampler=[[0, 1], [2, 3]]),
        object(),
    ],
)
def test_what_is_not_known_is_not_judged(loader: Any) -> None:
    assert rows(loader) is None


def test_a_sampler_within_a_batch_sampler_picks_rows() -> None:
    batches = BatchSampler(SubsetRandomSampler([4, 5]), 2, drop_last=False)
    picked = rows(DataLoader(OWN, batch_sampler=batches))
    assert picked is not None and picked.chosen == {4, 5}


def test_whole_tensors_of_many_rows_are_not_listed() -> None:
    many = torch.zeros(1_000_000, 1)
    trained, rest = rows(DataLoader(TensorDataset(many[:900_000]))), TensorDataset(many[900_000:])
    assert trained is not None and isinstance(trained.chosen, range)
    held_out, last = rows(DataLoader(rest)), rows(DataLoader(Subset(TensorDataset(many), [-1])))
    assert held_out is not None and held_out.overlap(trained) == "none"
    assert last is not None and last.overlap(held_out) == "within"
    assert last.overlap(trained) == "none"
