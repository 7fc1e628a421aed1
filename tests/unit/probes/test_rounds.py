"""Where rounds end: what waits is told, what was read is let go, what is watched is counted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tcstatic.runtime.probes import entry
from tcstatic.runtime.probes.budget import FRESH_STEPS, FULL_STEPS
from tcstatic.runtime.probes.rounds import MOST_BEGUN
from tests.unit.probes.watching import BACKWARD, CLEAR, FORWARD, NEW, Watched, batch, linear, train

Pair = tuple[torch.nn.Linear, torch.optim.Optimizer]


def pair(kind: Any = torch.optim.SGD) -> Pair:
    """A model and its optimizer, of which the program has told."""
    model = linear()
    return model, entry.after(NEW, kind(model.parameters(), lr=0.01))


def step(one: Pair) -> None:
    """One step, as rewritten code takes it."""
    model, optimizer = one
    entry.after(CLEAR, entry.on(CLEAR, optimizer).zero_grad())
    loss = entry.after(FORWARD, entry.on(FORWARD, model)(batch())).pow(2).mean()
    entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())
    optimizer.step()


def rounds(seen: Watched, *turns: Pair) -> int:
    """How many rounds end while optimizers step in this order."""
    before = seen.settled
    for one in turns:
        step(one)
    return seen.settled - before


@pytest.mark.parametrize("budget", [1.0, 0.01])
def test_a_second_training_that_is_no_longer_than_the_first_has_rounds(budget: float) -> None:
    seen = Watched(budget)
    seeds, steps = 16, 8
    for _ in range(seeds):
        model = linear()
        train(model, torch.optim.Adam(model.parameters()), steps)
        assert len(seen.parts.updates.readings) <= 1
        assert seen.watch._stream.waiting() <= 30
    counted = seen.watch._budget.steps
    assert seen.settled == counted
    assert seeds * steps - seeds < counted <= seeds * steps
    assert (seen.watch.counts().sampled < 1.0) == (budget < 1.0 and counted > FULL_STEPS)
    seen.watch.close()
    assert seen.codes() == []
    assert seen.disabled() == ()


def test_the_first_steps_of_a_later_training_are_watched() -> None:
    seen = Watched(1e-9)
    for _ in range(2):
        model = linear()
        train(model, torch.optim.Adam(model.parameters()), 3 * FULL_STEPS)
    assert seen.watch._budget.watched == FULL_STEPS + FRESH_STEPS
    other = linear()
    train(linear(), torch.optim.Adam(other.parameters()), FRESH_STEPS)
    seen.watch.close()
    assert "TCS204" in {code for code, _ in seen.codes()}


def test_a_program_with_an_optimizer_for_each_step_is_sampled_all_the_same() -> None:
    seen = Watched(1e-9)
    for _ in range(300):
        model = linear()
        train(model, torch.optim.Adam(model.parameters()), 1)
    assert seen.watch._budget.watched <= FULL_STEPS + MOST_BEGUN * FRESH_STEPS
    seen.watch.close()


def test_two_that_take_turns_share_a_round(watched: Watched) -> None:
    for _ in range(2):
        generator, critic = pair(), pair()
        # The first step of the second training may belong to the last round of the first.
        assert 4 <= rounds(watched, *[critic, generator] * 5) <= 5


def test_each_step_of_the_one_that_steps_more_often_is_a_round(watched: Watched) -> None:
    for _ in range(2):
        generator, critic = pair(), pair()
        rounds(watched, critic, critic, critic, generator)
        assert rounds(watched, *[critic, critic, critic, generator] * 4) == 12


def test_an_optimizer_that_trains_alone_for_a_while_has_rounds(watched: Watched) -> None:
    first, second = pair(), pair()
    assert rounds(watched, *[first] * 6) == 6
    assert rounds(watched, *[second] * 6) == 5  # its first step is of the last round of the other
    assert rounds(watched, *[first, second] * 6) == 6


def test_one_that_is_made_anew_for_each_step_has_rounds(watched: Watched) -> None:
    model, _ = one = pair()
    rounds(watched, *[one] * 3)
    before = watched.settled
    for _ in range(5):
        one = (model, entry.after(NEW, torch.optim.SGD(model.parameters(), lr=0.01)))
        step(one)
    assert watched.settled - before == 5


def test_one_optimizer_for_each_parameter_is_one_round(watched: Watched) -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(5)])
    for _ in range(2):
        parts = [torch.optim.SGD([p], lr=0.01) for p in model.parameters()]
        before = watched.settled
        for _ in range(4):
            loss = entry.after(FORWARD, entry.on(FORWARD, model)(batch())).pow(2).mean()
            entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())
            for part in parts:
                part.step()
                part.zero_grad()
        assert watched.settled - before in (3, 4)


def test_a_step_that_computes_many_losses_is_one_round(watched: Watched) -> None:
    for _ in range(2):
        model = linear()
        optimizer = entry.after(NEW, torch.optim.LBFGS(model.parameters(), max_iter=4))

        def closure(model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = model(batch()).pow(2).mean()
            loss.backward()
            return loss

        before = watched.settled
        for _ in range(5):
            optimizer.step(closure)
        assert watched.settled - before in (4, 5)
