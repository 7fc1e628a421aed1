"""States that alias the weights they were taken from, as a run sees them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.states import handler_of
from tests.unit.probes.watching import Watched, linear, train

TAKEN = Site(90, "after", "model.save", Location("train.py", 40), arguments={"keeps": "model"})
LOADED = Site(91, "on", "model.load", Location("train.py", 41), subject="model")
GIVEN = Site(92, "after", "model.load", Location("train.py", 41), attribute="state")


def tell(watched: Watched, site: Site, thing: Any) -> Any:
    watch: Any = watched.watch
    handler = handler_of(site, watched.parts, watch._budget, watch._saving)
    assert handler is not None
    handler(thing, sys._getframe())
    return thing


def take(watched: Watched, model: Any) -> Any:
    return tell(watched, TAKEN, model.state_dict())


def load(watched: Watched, model: Any, state: Any, **how: Any) -> None:
    tell(watched, LOADED, model).load_state_dict(tell(watched, GIVEN, state), **how)


def sgd(model: Any) -> Any:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)


def found(watched: Watched) -> list[tuple[str, int]]:
    return [(one.code, one.where.line) for one in watched.findings() if one.code == "TCS701"]


@pytest.mark.parametrize(
    "kept",
    [
        lambda state: state,
        dict,
        lambda state: {name: value.detach() for name, value in state.items()},
        lambda state: {name: value.cpu() for name, value in state.items()},
        lambda state: {"weight": state["weight"]},
    ],
    ids=["itself", "a dict", "detached", "to where it is", "a part"],
)
def test_what_was_trained_on_since_is_told_where_it_was_kept(
    watched: Watched, kept: Callable[[Any], Any]
) -> None:
    model = linear()
    optimizer = sgd(model)
    train(model, optimizer, 2)
    whole = take(watched, model)
    state = kept(whole)
    train(model, optimizer, 2)
    load(watched, model, state, strict=False)
    assert found(watched) == [("TCS701", 40)]


@pytest.mark.parametrize(
    "kept",
    [
        copy.deepcopy,
        lambda state: {name: value.clone() for name, value in state.items()},
        lambda state: {name: value.double() for name, value in state.items()},
        lambda state: {"bias": state["bias"].clone(), "weight": state["weight"]},
        lambda state: {f"module.{name}": value for name, value in state.items()},
    ],
    ids=["deepcopy", "clone", "another type", "one of two", "other names"],
)
def test_copies_are_not_told(watched: Watched, kept: Callable[[Any], Any]) -> None:
    model = linear()
    optimizer = sgd(model)
    train(model, optimizer, 2)
    whole = take(watched, model)
    state = kept(whole)
    train(model, optimizer, 2)
    load(watched, model, state, strict=False)
    assert found(watched) == []


def test_a_part_that_no_optimizer_holds_may_be_kept_by_reference(watched: Watched) -> None:
    model = linear()
    model.weight.requires_grad_(False)
    optimizer = sgd(model)
    train(model, optimizer, 2)
    whole = take(watched, model)
    state = {"weight": whole["weight"], "bias": whole["bias"].clone()}
    train(model, optimizer, 2)
    load(watched, model, state)
    assert found(watched) == []


def test_weights_that_are_written_through_their_state(watched: Watched) -> None:
    model = linear()
    optimizer = sgd(model)
    state = take(watched, model)
    for _ in range(3):
        train(model, optimizer, 1)
        for value in state.values():
            value.clamp_(-0.1, 0.1)
        load(watched, model, state)
    assert found(watched) == []


def test_a_state_that_serves_another_model_is_a_view_of_the_newest(watched: Watched) -> None:
    online, target = linear(), linear()
    optimizer = sgd(online)
    state = take(watched, online)
    for _ in range(3):
        train(online, optimizer, 2)
        load(watched, target, state)
    assert found(watched) == []
    assert torch.equal(target.weight, online.weight)


def test_steps_that_nobody_watches_count(watched: Watched) -> None:
    model = linear()
    optimizer = sgd(model)
    train(model, optimizer, 1)
    state = take(watched, model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    watched.watch._budget.watching = False
    optimizer.step()
    watched.watch._budget.watching = True
    load(watched, model, state)
    assert found(watched) == [("TCS701", 40)]


def test_states_that_nobody_holds_are_dropped(watched: Watched) -> None:
    model = linear()
    optimizer = sgd(model)
    for _ in range(40):
        take(watched, model)
        train(model, optimizer, 1)
    assert len(watched.parts.kept.taken) < 10
