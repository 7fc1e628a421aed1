"""Gradients between two steps: what cleared them, and what merely changed them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tcstatic.runtime.probes.ledger import NOTHING, Ledger, mark, same
from tests.unit.probes.watching import batch, linear


class Period:
    """A model with its ledger: one backward and one step behind it."""

    def __init__(self) -> None:
        self.model = linear()
        self.parameters = list(self.model.parameters())
        self.ledger = Ledger()
        self.backward()
        self.ledger.stepped(self.parameters)

    def backward(self) -> bool:
        """Run a backward; return whether gradients were found cleared before it."""
        cleared = self.ledger.backward_begins(self.parameters)
        self.model(batch()).pow(2).mean().backward()
        self.ledger.backward_ends(self.parameters)
        return cleared


def to_none(model: Any) -> None:
    model.zero_grad(set_to_none=True)


def to_zero(model: Any) -> None:
    model.zero_grad(set_to_none=False)


def by_hand(model: Any) -> None:
    for parameter in model.parameters():
        parameter.grad.zero_()


def anew(model: Any) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)


def one_attribute(model: Any) -> None:
    for parameter in model.parameters():
        del parameter.grad


WAYS = [to_none, to_zero, by_hand, anew, one_attribute]


@pytest.mark.parametrize("clear", WAYS)
def test_clearing_after_a_step_is_seen(clear: Callable[[Any], None]) -> None:
    period = Period()
    clear(period.model)
    assert period.backward()
    assert period.ledger.cleared
    assert not period.backward()  # accumulation: a second backward, nothing cleared between


@pytest.mark.parametrize("clear", [to_none, one_attribute])
def test_clearing_while_other_gradients_are_computed_is_seen(clear: Callable[[Any], None]) -> None:
    period = Period()
    assert not period.ledger.backward_begins(period.parameters)  # of torch.autograd.grad
    clear(period.model)
    assert not period.ledger.backward_ends(period.parameters)
    assert period.backward()
    assert period.ledger.cleared


def test_nothing_cleared() -> None:
    period = Period()
    assert not period.ledger.observe(period.parameters)
    assert not period.backward()
    assert not period.backward()
    assert not period.ledger.cleared


@pytest.mark.parametrize("clear", [to_none, anew, one_attribute])
def test_clearing_between_backward_and_step_is_seen(clear: Callable[[Any], None]) -> None:
    period = Period()
    to_none(period.model)
    period.backward()
    clear(period.model)
    assert period.ledger.observe(period.parameters)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: torch.nn.utils.clip_grad_norm_(p, 1e-3),
        lambda p: torch.nn.utils.clip_grad_value_(p, 1e-3),
        lambda p: [one.grad.div_(2.0) for one in p],
    ],
)
def test_clipping_is_no_clearing(change: Callable[[list[Any]], Any]) -> None:
    period = Period()
    to_none(period.model)
    period.backward()
    change(period.parameters)
    assert not period.ledger.observe(period.parameters)


def test_one_gradient_that_stays_is_no_clearing() -> None:
    period = Period()
    period.parameters[0].grad = None
    assert not period.ledger.observe(period.parameters)
    assert not period.ledger.cleared


def test_which_parameters_a_backward_reached() -> None:
    one, two = linear(3, 3), linear(3, 3)
    parameters = [*one.parameters(), *two.parameters()]
    ledger = Ledger()
    ledger.backward_begins(parameters)
    two(batch()).sum().backward()
    assert ledger.backward_ends(parameters) == {2, 3}
    ledger.backward_begins(parameters)
    one(batch()).sum().backward()
    assert ledger.backward_ends(parameters) == {0, 1}
    assert (ledger.touched, ledger.backwards) == ({0, 1, 2, 3}, 2)
    ledger.stepped(parameters)
    assert (ledger.touched, ledger.ever_touched) == (set(), {0, 1, 2, 3})
    ledger.backward_begins(parameters)
    two(batch()).sum().backward()  # adds to gradients that are there
    assert ledger.backward_ends(parameters) == {2, 3}


def test_a_backward_that_reaches_nothing_is_none() -> None:
    period = Period()
    period.ledger.backward_begins(period.parameters)
    linear()(batch()).sum().backward()
    assert period.ledger.backward_ends(period.parameters) == set()
    assert period.ledger.backwards == 0


def test_gradients_are_fresh_until_the_step() -> None:
    period = Period()
    assert not period.ledger.fresh(period.parameters)
    period.backward()
    assert period.ledger.fresh(period.parameters)
    period.ledger.stepped(period.parameters)
    assert not period.ledger.fresh(period.parameters)
    to_none(period.model)
    assert not period.ledger.fresh(period.parameters)


def test_what_is_announced_is_not_observed_again() -> None:
    period = Period()
    to_none(period.model)
    period.ledger.announce_clearing()
    assert period.ledger.cleared
    assert not period.ledger.observe(period.parameters)
    assert not period.backward()


def test_after_a_gap_nothing_is_claimed() -> None:
    period = Period()
    period.ledger.forget()
    to_none(period.model)
    assert not period.ledger.observe(period.parameters)
    assert not period.ledger.cleared


def test_a_mark_keeps_no_gradient_alive() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    seen = mark(parameter.grad)
    assert same(parameter.grad, seen)
    parameter.grad.add_(0.0)
    assert not same(parameter.grad, seen)
    parameter.grad = None
    assert seen[0] is not None
    assert seen[0]() is None
    assert not same(None, seen)
    assert mark(None) == NOTHING
    assert not same(None, NOTHING)


def test_a_mark_lives_through_the_death_of_pythons_handle() -> None:
    """The gradient's Python object comes and goes; the tensor stays."""
    model = linear()
    model(batch()).sum().backward()
    seen = mark(model.weight.grad)
    assert same(model.weight.grad, seen)
    assert same(model.weight.grad, seen)


def test_tensors_without_a_version_are_no_error() -> None:
    with torch.inference_mode():
        made = torch.ones(2)
    assert mark(made) == NOTHING
