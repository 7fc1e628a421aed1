"""The operation that made the first number which is not finite, from the graph and the code."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tcstatic.model import Event, Location
from tcstatic.runtime.probes.measure import Known
from tcstatic.runtime.probes.nonfinite import NonFinite
from tcstatic.runtime.probes.stream import HEARD, Stream


class Looked:
    """A look at one loss, and the lines that are told of."""

    def __init__(self, *models: Any) -> None:
        self.events: list[Event] = []
        self.stream = Stream(os.path.dirname(__file__), self.events.extend, {})
        self.finder = NonFinite(self.stream, lambda: ((-7,), list(models)))

    def at(self, loss: Any) -> str:
        return self.finder.backward_begins(loss, Known([loss.item()]))

    def lines(self) -> list[str]:
        self.stream.flush()
        assert all(one.kind == "call" and one.subjects == {HEARD: (-7,)} for one in self.events)
        places = [one.where for one in self.events if one.where is not None]
        return [linecache.getline(__file__, place.line).strip() for place in places]


def weights(*numbers: float) -> Any:
    return torch.tensor(numbers, requires_grad=True)


def logarithm() -> Any:
    return (weights(1.0, 0.0) * 1.0).log().sum()


def division() -> Any:
    return (weights(1.0) / torch.zeros(1)).sum()


def root() -> Any:
    return torch.sqrt(weights(1.0, -1.0)).sum()


def power() -> Any:
    return (weights(-2.0) ** 0.5).sum()


def exponential() -> Any:
    return weights(1.0, 200.0).exp().sum()


def nothing() -> Any:
    return weights(1.0)[:0].mean()


def ignored() -> Any:
    return functional.cross_entropy(weights(1.0, 2.0)[None], torch.tensor([-100]))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (logarithm, "the logarithm of a number that is not above 0"),
        (division, "a division by 0"),
        (root, "the square root of a negative number"),
        (power, "a power that is not finite"),
        (exponential, "an exponential that is too large"),
        (nothing, "the mean of no numbers"),
        (ignored, "a mean over labels that are all ignored"),
    ],
)
def test_the_operation_and_its_line_are_named(made: Callable[[], Any], words: str) -> None:
    looked = Looked()
    loss = made()  # one of several names of this module that lead there
    assert looked.at(loss).startswith(f": {words}")
    first = made.__code__.co_firstlineno + 1
    assert linecache.getline(__file__, first).strip() in looked.lines()


def test_the_first_operation_counts() -> None:
    looked = Looked()
    assert ": the logarithm" in looked.at((weights(0.0).log() / torch.zeros(1)).sqrt().sum())


def test_what_is_not_finite_before_has_no_line_outside_of_a_loop() -> None:
    looked = Looked()
    assert looked.at((weights(float("nan")) * 2).log().sum()) == (
        ": a parameter was not finite before"
    )
    layer = nn.Linear(2, 1)
    looked = Looked(layer)
    given = torch.tensor([[float("nan"), 1.0]])
    assert looked.at(layer(given).exp().sum()) == (
        ": given was not finite before the model was called"
    )
    assert looked.lines() == []


def test_a_finite_loss_is_not_looked_at() -> None:
    looked = Looked()
    hidden = torch.where(torch.tensor([True, False]), weights(1.0, 0.0).log(), torch.zeros(2))
    assert looked.at(hidden.sum()) == ""
    assert looked.lines() == []


def test_only_the_first_failure_is_looked_at() -> None:
    looked = Looked()
    assert looked.at(weights(0.0).log().sum()) != ""
    assert looked.at(weights(0.0).log().sum()) == ""


def test_what_hooks_keep_is_left_alone() -> None:
    unpacked = []

    def inner(x: Any) -> Any:
        unpacked.append(1)
        return (x * 1.0).log()

    loss = checkpoint(inner, weights(0.0), use_reentrant=False).sum()
    assert Looked().at(loss) == ""
    assert len(unpacked) == 1


def test_nothing_of_the_graph_is_changed() -> None:
    one, other = weights(0.0, 2.0), weights(0.0, 2.0)
    loss = one.log().sum()
    Looked().at(loss)
    loss.backward()
    other.log().sum().backward()
    assert one.grad is not None and other.grad is not None
    assert torch.equal(one.grad, other.grad)


def steep(x: Any) -> Any:
    return x.square().sum().sqrt()


@pytest.mark.parametrize(("norm", "told"), [(3.0, True), (1e20, False)])
def test_a_slope_is_named_unless_numbers_have_grown_too_large(norm: float, told: bool) -> None:
    looked = Looked()
    loss = steep(weights(0.0))
    assert looked.at(loss) == ""
    assert bool(looked.finder.gradient_found([norm, float("nan")], None)) is told
    assert ("return x.square().sum().sqrt()" in looked.lines()) is told


def test_a_write_to_a_gradient_is_named_where_the_graph_has_no_steep_slope() -> None:
    looked = Looked()
    loss = (weights(1.0) * 2.0).sum()
    assert looked.at(loss) == ""
    written = Location(os.path.basename(__file__), 1)
    said = looked.finder.gradient_found([1.0, float("nan")], written)
    looked.stream.flush()
    assert said.endswith(f"at {written.file}:1")
    assert [(one.kind, one.where) for one in looked.events] == [("grad.write", written)]
