"""Loads of which nothing came, as a run sees them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.states import handler_of
from tests.unit.probes.watching import Watched, linear, train

LINE = 41
LOADED = Site(91, "on", "model.load", Location("train.py", LINE), subject="model")


def given(arguments: Mapping[str, str]) -> Site:
    where = Location("train.py", LINE)
    return Site(92, "after", "model.load", where, attribute="state", arguments=arguments)


def tell(watched: Watched, site: Site, thing: Any) -> Any:
    watch: Any = watched.watch
    handler = handler_of(site, watched.parts, watch._budget, watch._saving)
    assert handler is not None
    handler(thing, sys._getframe())
    return thing


def load(watched: Watched, model: Any, state: Any, *, literal: bool = True) -> None:
    site = given({"strict": "False"} if literal else {})
    tell(watched, LOADED, model).load_state_dict(tell(watched, site, state), strict=False)


def found(watched: Watched) -> list[tuple[str, int]]:
    watched.watch.close()
    return [(one.code, one.where.line) for one in watched.findings() if one.code == "TCS705"]


def sgd(model: Any) -> Any:
    return torch.optim.SGD(model.parameters(), lr=0.1)


FOREIGN = {"module.weight": torch.zeros(2, 3), "module.bias": torch.zeros(2)}


@pytest.mark.parametrize("state", [FOREIGN, {"model": FOREIGN, "epoch": 1}], ids=["flat", "nested"])
def test_a_state_of_other_names_is_told_where_it_is_loaded(
    watched: Watched, state: dict[str, Any]
) -> None:
    model = linear()
    load(watched, model, state)
    train(model, sgd(model), 2)
    assert found(watched) == [("TCS705", LINE)]


def test_what_is_loaded_after_the_last_step_is_told_at_the_end(watched: Watched) -> None:
    model = linear()
    train(model, sgd(model), 2)
    load(watched, model, FOREIGN)
    assert found(watched) == [("TCS705", LINE)]


def test_a_state_that_fits_in_part_is_loaded(watched: Watched) -> None:
    model = linear()
    load(watched, model, {"bias": torch.ones(2), **FOREIGN})
    load(watched, model, FOREIGN)
    train(model, sgd(model), 2)
    assert found(watched) == []


def test_whoever_may_be_strict_is_told_by_torch(watched: Watched) -> None:
    model = linear()
    load(watched, model, FOREIGN, literal=False)
    train(model, sgd(model), 2)
    assert found(watched) == []


def test_a_module_that_loads_by_itself_knows_its_names(watched: Watched) -> None:
    class Own(torch.nn.Linear):
        def load_state_dict(self, state_dict: Any, *args: Any, **named: Any) -> Any:
            return super().load_state_dict({}, strict=False)

    torch.manual_seed(0)
    model = Own(3, 2)
    load(watched, model, FOREIGN)
    train(model, sgd(model), 2)
    assert found(watched) == []


def test_what_is_written_through_data_moves_no_version(watched: Watched) -> None:
    swapped, filled = linear(), linear()
    for model in (swapped, filled):
        load(watched, model, FOREIGN)
    swapped.weight.data = torch.ones(2, 3)
    filled.weight.data[1, 1] = 3.0
    train(swapped, sgd(swapped), 2)
    train(filled, sgd(filled), 2)
    assert found(watched) == []


def test_a_step_that_nobody_watches_is_told_of_before_it_begins(watched: Watched) -> None:
    model = linear()
    load(watched, model, FOREIGN)
    watch: Any = watched.watch
    watch._budget.watching = False
    train(model, sgd(model), 2)
    assert found(watched) == [("TCS705", LINE)]
