"""Attention that shows a place the token that it is to predict, read from the graph of a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tcstatic.model import Event, Location
from tcstatic.runtime.probes import ahead
from tcstatic.runtime.probes.pairing import Pairing
from tcstatic.runtime.probes.stream import Stream

WIDTH, WORDS, LENGTH, ROWS = 12, 11, 10, 8

Mixing = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Model(nn.Module):
    """A model of language, whose places are mixed in one of many ways."""

    def __init__(self, mix: Mixing) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(WORDS, WIDTH), nn.Embedding(2 * LENGTH, WIDTH)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS)
        self.mix = mix

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.place(torch.arange(tokens.size(1)))
        scores: torch.Tensor = self.head(x + self.mix(self.norm(x), tokens))
        return scores


def told(mix: Mixing, *, shift: int = 1, start: int = 0, first: int = 0) -> list[str]:
    """How the answers are seen in two batches, of which `start` targets are ignored, and of whose
    rows each begins with some padding, `first` more in each."""
    torch.manual_seed(0)
    model, events = Model(mix), list[Event]()
    stream = Stream(".", events.extend, {})
    pairing = Pairing(stream, lambda: [model])
    for _ in range(2):
        whole = torch.randint(1, WORDS, (ROWS, LENGTH + shift))
        whole = whole * (torch.arange(LENGTH + shift) >= first * torch.arange(ROWS)[:, None])
        tokens, wanted = whole[:, :LENGTH], whole[:, shift:].clone()
        wanted[:, :start] = -100
        scores = model(tokens)
        each = functional.cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="none")
        loss = (each * (wanted.flatten() != 0)).mean()
        pairing.read(loss.grad_fn, Location("train.py", 9))
    pairing.settle()
    stream.flush()
    return [str(one.values["how"]) for one in events if "sees_answer" in one.values]


def later(x: torch.Tensor, diagonal: int = 1) -> torch.Tensor:
    return torch.ones(x.size(1), x.size(1)).triu(diagonal).bool()


def weighed(scores: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return functional.dropout(scores.softmax(-1), 0.2) @ x


def scored(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return x @ other.mT / WIDTH


def by_hand(hidden: Callable[[torch.Tensor], torch.Tensor]) -> Mixing:
    return lambda x, _: weighed(scored(x, x).masked_fill(hidden(x), float("-inf")), x)


def by_torch(**given: Any) -> Mixing:
    function = functional.scaled_dot_product_attention
    return lambda x, _: function(x[:, None], x[:, None], x[:, None], **given)[:, 0]


OPEN, LATE, INVERTED = "nothing hides", "too late", "wrong way round"


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        (lambda x, _: weighed(scored(x, x), x), OPEN),
        (lambda x, _: weighed(torch.einsum("bid,bjd->bij", x, x) / 3, x), OPEN),
        (by_hand(lambda x: later(x, 2)), LATE),
        (by_hand(lambda x: later(x).mT), INVERTED),
        (by_torch(), OPEN),
        (by_torch(dropout_p=0.2), OPEN),
        (by_torch(attn_mask=torch.ones(LENGTH, LENGTH).triu().bool()), INVERTED),
        (by_torch(attn_mask=torch.ones(LENGTH, LENGTH).tril(1).bool()), LATE),
        (by_torch(attn_mask=torch.zeros(LENGTH, LENGTH)), OPEN),
    ],
)
def test_answers_are_seen(mix: Mixing, expected: str) -> None:
    found = told(mix)
    assert len(found) == 1
    assert expected in found[0]


def over_heads(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """As many heads as places attend to each other, within each place."""
    heads = x.repeat(1, 1, LENGTH).view(ROWS, LENGTH, LENGTH, WIDTH)
    return weighed(heads @ heads.mT, heads).mean(2)


def experts(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """As many experts as places, of which each place takes its own."""
    rates = (x @ torch.randn(ROWS, WIDTH, LENGTH, requires_grad=True)).softmax(-1)
    return rates @ torch.randn(ROWS, LENGTH, WIDTH)


def of_a_source(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """A source of the same length is read as a whole."""
    source = functional.embedding(torch.randint(WORDS, (ROWS, LENGTH)), torch.randn(WORDS, WIDTH))
    source = weighed(source.requires_grad_() @ source.mT, source)
    return x + weighed(scored(x, source), source)


@pytest.mark.parametrize(
    "mix",
    [
        by_hand(later),
        by_hand(lambda x: later(x) | ~later(x, -2)),
        by_torch(is_causal=True),
        by_torch(is_causal=True, dropout_p=0.2),
        by_torch(attn_mask=torch.ones(LENGTH, LENGTH).tril().bool()),
        by_torch(attn_mask=torch.full((LENGTH, LENGTH), float("-inf")).triu(1)),
        lambda x, _: ((scored(x, x).softmax(-1) * ~later(x)) + 1e-9) @ x,
        lambda x, _: scored(x, x).softmax(-1).masked_fill(later(x), 0.0) @ x,
        lambda x, _: scored(x, x).softmax(-1).tril() @ x,
        lambda x, _: weighed(scored(x, x), x).mean(1, keepdim=True),
        over_heads,
        experts,
        of_a_source,
    ],
)
def test_nothing_is_said_of_what_sees_no_answer(mix: Mixing) -> None:
    assert told(mix) == []


@pytest.mark.parametrize("shift", [0, 2])
def test_what_is_not_the_next_token_may_be_seen(shift: int) -> None:
    assert told(by_torch(), shift=shift) == []


def test_a_prefix_may_be_read_as_a_whole() -> None:
    kept = torch.ones(LENGTH, LENGTH).tril().bool()
    kept[:, :5] = True
    assert told(by_torch(attn_mask=kept), start=4) == []
    assert told(by_torch(), start=4) != []


@pytest.mark.parametrize("added", [True, False])
def test_padding_comes_first_and_all_of_its_rows_are_hidden(added: bool) -> None:
    def mix(x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        scores = scored(x, x)
        if added:
            scores = scores + (tokens == 0)[:, None] * -1e9 + later(x) * -1e9
        else:
            scores = scores.masked_fill((tokens == 0)[:, None] | later(x), -1e9)
        return weighed(scores, x)

    assert told(mix, first=1) == []
    assert told(lambda x, _: weighed(scored(x, x), x), first=1) != []


@pytest.mark.parametrize("tables", [0, 1, 3])
def test_a_part_of_many_heads_is_read(tables: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_MOST_WEIGHTS", tables * LENGTH**2)
    mask = torch.zeros(1, 1, LENGTH, LENGTH).expand(ROWS, 4, -1, -1)
    for mix in (by_torch(attn_mask=mask[:, :1]), lambda x, _: weighed(scored(x, x), x)):
        assert bool(told(mix)) == bool(tables)
    found = ahead._first(mask, LENGTH)
    assert (0 if found is None else len(found)) == tables
