"""What a loss was made of is read from its graph: by which operation, where, and how it spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tcstatic.model import Event, Location, Needs, Site
from tcstatic.runtime.probes.graphs import Graphs
from tcstatic.runtime.probes.stream import Stream

BACKWARD = Location("train.py", 9)
MADE = Location("train.py", 3)
LAYER = Location("train.py", 1)


class Read:
    """Graphs that are read, and the events that come of it."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.events: list[Event] = []
        self.stream = Stream(".", self.events.extend, {})
        self.graphs = Graphs(
            self.stream, Needs(events=frozenset({"loss.forward"} if wanted else ()))
        )

    def losses(self, loss: Any) -> list[dict[str, Any]]:
        """What is told of a loss that was not told before."""
        self.graphs.read(loss, BACKWARD)
        self.stream.flush()
        told = [dict(one.values) for one in self.events if one.kind == "loss.forward"]
        self.told, self.events[:] = list(self.events), []
        return told


def inputs(columns: int = 4) -> torch.Tensor:
    torch.manual_seed(0)
    scores: torch.Tensor = nn.Linear(3, columns)(torch.randn(5, 3))
    return scores


LABELS = torch.tensor([0, 1, 2, 3, 0])
BITS = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])


def softmax(x: torch.Tensor) -> torch.Tensor:
    return x.softmax(-1)


def ce(x: torch.Tensor, **more: Any) -> torch.Tensor:
    return functional.cross_entropy(x, LABELS, **more)


def bce(x: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(x, BITS)


def normalised() -> torch.Tensor:
    return softmax(inputs())


def by_hand() -> torch.Tensor:
    return -normalised().log_softmax(-1).gather(1, LABELS[:, None]).mean()


def bits() -> torch.Tensor:
    return inputs(1).sigmoid().squeeze(1)


SOFT = torch.full((5, 4), 0.25)
MAKING: list[tuple[str, Callable[[], torch.Tensor], str]] = [
    ("cross_entropy", lambda: ce(inputs()), ""),
    ("cross_entropy", lambda: ce(normalised()), "softmax"),
    ("cross_entropy", lambda: ce(normalised(), label_smoothing=0.1), "softmax"),
    ("cross_entropy", lambda: functional.cross_entropy(normalised(), SOFT), "softmax"),
    ("cross_entropy", lambda: 0.5 * ce(normalised()) + inputs().pow(2).mean(), "softmax"),
    ("cross_entropy", by_hand, "softmax"),
    ("cross_entropy", lambda: ce(normalised().view(4, 5).reshape(5, 4)), "softmax"),
    ("cross_entropy", lambda: ce(normalised() / 0.1), ""),
    ("nll_loss", lambda: functional.nll_loss(normalised(), LABELS), "softmax"),
    ("nll_loss", lambda: functional.nll_loss(normalised().log(), LABELS), ""),
    ("bce_with_logits", lambda: bce(bits()), "sigmoid"),
    ("binary_cross_entropy", lambda: functional.binary_cross_entropy(bits(), BITS), "sigmoid"),
]


@pytest.mark.parametrize(("loss", "make", "made_by"), MAKING)
def test_what_made_the_input_of_a_loss(
    loss: str, make: Callable[[], torch.Tensor], made_by: str
) -> None:
    (told,) = [one for one in Read().losses(make()) if one["loss"] == loss]
    assert (told["made_by"], told["spread"]) == (made_by, False)


SPREAD: list[tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor], bool]] = [
    ("mse", lambda out, y: functional.mse_loss(out, y), True),
    ("l1", lambda out, y: functional.l1_loss(out, y), True),
    ("huber", lambda out, y: functional.huber_loss(out, y), True),
    ("by hand", lambda out, y: ((out - y) ** 2).mean(), True),
    ("by hand, the other way", lambda out, y: (y - out).abs().sum() / 5, True),
    ("flat output", lambda out, y: (out[:, 0] * 1.0 - y[:, None]).square().mean(), True),
    ("squeezed", lambda out, y: functional.mse_loss(out.squeeze(1), y), False),
    ("one target for all", lambda out, y: ((out - y[:1]) ** 2).mean(), False),
    ("all pairs on purpose", lambda out, y: ((out - out.T) ** 2).mean(), False),
    ("a table on purpose", lambda out, y: (out.view(-1, 1) - y).abs().mean(), False),
]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(("make", "spread"), [pytest.param(*row[1:], id=row[0]) for row in SPREAD])
def test_predictions_that_were_spread_over_all_targets(
    make: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], spread: bool
) -> None:
    told = Read().losses(make(inputs(1), torch.randn(5)))
    assert any(one["spread"] for one in told) is spread
    assert not spread or "to 5x5" in "".join(one["shapes"] for one in told)


def test_it_is_told_once_and_where_it_was_made() -> None:
    read = Read()
    for step in range(3):
        read.stream.step = step
        probabilities = softmax(inputs())
        read.graphs.made(
            Site(1, "after", "call", MADE, arguments={"makes": "softmax"}), probabilities
        )
        told = read.losses(functional.cross_entropy(probabilities, LABELS))
        assert len(told) == (step == 0)
        if told:
            call, loss = read.told
            assert (call.kind, call.where) == ("call", MADE)
            assert loss.where == BACKWARD
            assert call.subjects == loss.subjects


def test_a_layer_is_named_where_no_call_is_seen() -> None:
    read = Read()
    read.graphs.made(Site(1, "after", "call", LAYER, arguments={"layer": "softmax"}), nn.Softmax(1))
    read.losses(functional.cross_entropy(nn.Softmax(1)(inputs()), LABELS))
    assert [one.where for one in read.told] == [LAYER, BACKWARD]


def test_saved_tensors_are_left_alone() -> None:
    def unpack(packed: torch.Tensor) -> torch.Tensor:
        raise AssertionError("somebody has asked for a saved tensor")

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
        loss = functional.cross_entropy(softmax(inputs()), LABELS) + functional.mse_loss(
            inputs(1).squeeze(), torch.randn(5)
        )
    assert len(Read().losses(loss)) == 2


def test_graphs_are_read_at_first_and_then_now_and_then() -> None:
    read = Read()
    due = []
    for step in range(200):
        read.stream.rounds = step
        due.append(read.graphs.due)
    assert due.index(False) == 8
    assert sum(due) == 8 + 3
    read.stream.began = read.stream.rounds = 200
    assert read.graphs.due
    assert not Read(wanted=False).graphs.due
