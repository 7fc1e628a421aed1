"""Over what weights of attention are taken is read from a graph, however they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tcstatic.runtime.probes.attending import misplaced

Attend = Callable[[Any, Any, Any, int], Any]


def tensors() -> tuple[Any, Any, Any]:
    made = (torch.rand(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    query, key, value = (1 * one for one in made)
    return query, key, value


def by_matmul(query: Any, key: Any, value: Any, over: int) -> Any:
    return (query @ key.mT / 2).softmax(over) @ value


def by_einsum(query: Any, key: Any, value: Any, over: int) -> Any:
    weights = torch.einsum("bhid,bhjd->bhij", query, key).softmax(over)
    return torch.einsum("bhij,bhjd->bihd", torch.dropout(weights, 0.5, True), value)


@pytest.mark.parametrize("attend", [by_matmul, by_einsum])
@pytest.mark.parametrize(
    ("over", "told"),
    [(0, "heads or examples"), (1, "heads or examples"), (2, "queries"), (-2, "queries")],
)
def test_weights_over_something_else_are_told(attend: Attend, over: int, told: str) -> None:
    assert [words for _, words in misplaced(attend(*tensors(), over).sum().grad_fn)] == [told]


@pytest.mark.parametrize("attend", [by_matmul, by_einsum])
@pytest.mark.parametrize("over", [3, -1])
def test_weights_over_keys_are_not(attend: Attend, over: int) -> None:
    assert list(misplaced(attend(*tensors(), over).sum().grad_fn)) == []


def test_keys_may_be_rows() -> None:
    query, key, value = tensors()
    out = value.mT @ (key @ query.mT).softmax(-2)
    assert list(misplaced(out.sum().grad_fn)) == []


def test_what_is_normalised_again_is_not_told() -> None:
    query, key, value = tensors()
    weights = (query @ key.mT).softmax(-2)
    out = (weights / weights.sum(-1, keepdim=True)) @ value
    assert list(misplaced(out.sum().grad_fn)) == []
