"""Tokens and targets, read from the graph of a loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tcstatic.model import Event, Location
from tcstatic.runtime.probes.pairing import Pairing
from tcstatic.runtime.probes.stream import Stream
from tcstatic.runtime.probes.tokens import batch_of

BACKWARD = Location("train.py", 9)
WIDTH, WORDS, LENGTH, ROWS = 8, 11, 10, 6


class Model(nn.Module):
    """A recurrent model of language; its batches come first or second."""

    def __init__(self, *, batch_first: bool = True, both: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.body = nn.GRU(WIDTH, WIDTH, batch_first=batch_first, bidirectional=both)
        self.head = nn.Linear(WIDTH * (1 + both), WORDS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.body(self.embed(tokens))[0])
        return scores


def told(model: Any, *losses: Any) -> list[dict[str, Any]]:
    """What is told of losses that are read one after the other."""
    events: list[Event] = []
    stream = Stream(".", events.extend, {})
    pairing = Pairing(stream, lambda: [model])
    for loss in losses:
        pairing.read(loss.grad_fn, BACKWARD)
    pairing.settle()
    stream.flush()
    return [dict(one.values) for one in events]


def rows(length: int = LENGTH) -> torch.Tensor:
    return torch.randint(1, WORDS, (ROWS, length))


def losses(model: nn.Module, shift: int, *, turned: bool = False) -> list[torch.Tensor]:
    found = []
    for _ in range(2):
        whole = rows(LENGTH + shift)
        tokens, wanted = whole[:, :LENGTH], whole[:, shift : LENGTH + shift]
        if turned:
            tokens, wanted = tokens.t(), wanted.t()
        found.append(functional.cross_entropy(model(tokens).flatten(0, 1), wanted.flatten()))
    return found


@pytest.mark.parametrize("turned", [False, True], ids=["batch first", "place first"])
@pytest.mark.parametrize(("shift", "expected"), [(0, True), (1, False), (2, True), (3, False)])
def test_the_shift_is_read(shift: int, expected: bool, turned: bool) -> None:
    torch.manual_seed(0)
    model = Model(batch_first=not turned)
    found = told(model, *losses(model, shift, turned=turned))
    assert [one["other_token"] for one in found] == [True] * expected


def test_a_model_that_reads_both_ways_may_be_asked_for_its_inputs() -> None:
    torch.manual_seed(0)
    model = Model(both=True)
    assert told(model, *losses(model, 0)) == []


def test_one_next_token_says_that_the_other_is_meant() -> None:
    torch.manual_seed(0)
    model = Model()
    assert told(model, losses(model, 1)[0], *losses(model, 2)) == []


def test_scores_that_are_cut_off_at_the_front_are_counted() -> None:
    torch.manual_seed(0)
    model = Model()

    def loss() -> torch.Tensor:
        tokens = rows()
        scores = model(tokens)[:, 1:-1].flatten(0, 1)
        return functional.cross_entropy(scores, tokens[:, 2:].flatten())

    assert told(model, loss(), loss()) == []


def test_what_a_hook_has_stored_is_not_brought_back() -> None:
    torch.manual_seed(0)
    model, brought = Model(), []

    def bring(kept: Any) -> Any:
        brought.append(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, bring):
        found = losses(model, 2)
    assert told(model, *found) == []
    assert not brought


def test_a_graph_that_was_used_is_not_read() -> None:
    torch.manual_seed(0)
    model = Model()
    loss = losses(model, 1)[0]
    loss.backward()  # type: ignore[no-untyped-call]
    assert batch_of(loss.grad_fn) is None


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"ignore_index": 0}, False),
        ({"weight": torch.ones(WORDS)}, False),
        ({"reduction": "none"}, False),
    ],
    ids=["plain", "ignored", "weighted", "apart"],
)
def test_padding_counts(more: dict[str, Any], expected: bool) -> None:
    torch.manual_seed(0)
    model = Model()

    def loss() -> torch.Tensor:
        tokens = rows()
        tokens[torch.arange(LENGTH)[None] >= torch.arange(3, 3 + ROWS)[:, None]] = 0
        scores = model(tokens)[:, :-1].flatten(0, 1)
        return functional.cross_entropy(scores, tokens[:, 1:].flatten(), **more).mean()

    found = told(model, loss(), loss())
    assert [one["padding_counts"] for one in found] == [True] * expected


class Attending(nn.Module):
    """Attention by hand, in one of three ways, told what to keep."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.embed, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 2)
        self.place = nn.Embedding(LENGTH, WIDTH)

    def forward(self, tokens: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.place(torch.arange(LENGTH)[None])
        if self.way == "function":
            mixed = functional.scaled_dot_product_attention(x, x, x, keep[:, None, :])
        else:
            scores = x @ x.transpose(1, 2) if self.way == "table" else x.sum(-1, keepdim=True).mT
            mixed = scores.masked_fill(~keep[:, None, :], float("-inf")).softmax(-1) @ x
        scores = self.head(mixed.mean(1))
        return scores


@pytest.mark.parametrize("way", ["function", "table", "pooling"])
@pytest.mark.parametrize("inverted", [True, False])
def test_a_mask_that_hides_the_tokens(way: str, inverted: bool) -> None:
    torch.manual_seed(0)
    model = Attending(way)

    def loss() -> torch.Tensor:
        real = torch.arange(LENGTH)[None] < torch.arange(3, 3 + ROWS)[:, None]
        scores = model(rows() * real, ~real if inverted else real)
        return functional.cross_entropy(scores, torch.arange(ROWS) % 2)

    found = told(model, loss(), loss())
    assert [one["sees_padding"] for one in found] == [True] * inverted
