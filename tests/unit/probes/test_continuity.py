"""What is left alone between two moments, and what is not."""

from __future__ import annotations

import math

import torch
from torch import nn

from tcstatic.runtime.probes.continuity import COUNT, GRADIENT, STATE, WEIGHT, Continuity, states


def named() -> tuple[nn.Module, list[tuple[str, nn.Parameter]]]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, list(model.named_parameters())


def test_what_changed_is_named_once() -> None:
    model, parameters = named()
    continuity = Continuity()
    continuity.leaves(WEIGHT, parameters)
    with torch.no_grad():
        model.bias.add_(0.01)  # type: ignore[operator,union-attr]
    continuity.finds(WEIGHT, parameters)
    assert continuity.changed() == {"bias": WEIGHT}
    assert continuity.changed() == {}


def test_what_stays_as_it_is_is_not() -> None:
    model, parameters = named()
    with torch.no_grad():
        model.weight.fill_(math.nan)  # type: ignore[operator,union-attr]
    continuity = Continuity()
    continuity.leaves(WEIGHT, parameters)
    continuity.finds(WEIGHT, parameters)
    continuity.leaves(GRADIENT, [(name, one.grad) for name, one in parameters])
    continuity.finds(GRADIENT, [(name, one.grad) for name, one in parameters])
    assert continuity.changed() == {}


def test_what_was_not_left_is_not_judged() -> None:
    _, parameters = named()
    continuity = Continuity()
    continuity.finds(WEIGHT, parameters)
    continuity.leaves(WEIGHT, parameters[:1])
    continuity.finds(WEIGHT, parameters)
    continuity.leaves(WEIGHT, parameters)
    continuity.forget()
    continuity.finds(WEIGHT, parameters)
    assert continuity.changed() == {}


def test_states_and_counts_of_steps() -> None:
    model, parameters = named()
    optimizer = torch.optim.Adam(model.parameters())
    assert states(parameters, [optimizer]) == ([], [])
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    kept, counts = states(parameters, [optimizer, None])
    assert [name for name, _ in kept] == ["weight", "weight", "bias", "bias"]
    assert [name for name, _ in counts] == ["weight", "bias"]
    continuity = Continuity()
    for kind, tensors in ((STATE, kept), (COUNT, counts)):
        continuity.leaves(kind, tensors)
        tensors[-1][1].add_(1.0)
        continuity.finds(kind, tensors)
    assert continuity.changed() == {"bias": STATE}
    continuity.leaves(COUNT, counts)
    counts[0][1].add_(1.0)
    continuity.finds(COUNT, counts)
    assert continuity.changed() == {"weight": COUNT}


def test_rates_between_backward_and_step() -> None:
    continuity = Continuity()
    continuity.backward_begins((0.1,))
    continuity.step_begins((0.1,))
    assert continuity.changed() == {}
    continuity.step_begins((0.2,))  # no backward came before it
    continuity.backward_begins((0.2,))
    continuity.step_begins((0.3,))
    assert list(continuity.changed().values()) == ["rate"]
