"""Where weights come from is asked of each parameter of many, and costs no more for each."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
from torch import nn

from tcstatic.runtime.probes.ownership import Ownership
from tcstatic.runtime.probes.registry import Registry
from tcstatic.runtime.probes.weights import Held


def layers(count: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {"a": nn.Linear(2, 2), "b": nn.Sequential(*[nn.Linear(2, 2) for _ in range(count)])}
    )


def held(count: int) -> tuple[Held, list[Any]]:
    """A model whose second part is starved, and a trained copy."""
    model = layers(count)
    roots = {1: model, 2: copy.deepcopy(model)}
    starved = list(model["b"].parameters())
    return Held(roots, Ownership(Registry()), starved), starved


def calls(count: int) -> int:
    """How many functions are called to ask of all."""
    found, starved = held(count)
    made = 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        assert all([found.has_twin(one) for one in starved])
    finally:
        sys.setprofile(None)
    return made


def test_the_work_grows_as_the_number_of_parameters() -> None:
    assert calls(80) < 9 * calls(10)


@pytest.mark.parametrize("way", ["another model", "another part", "frozen", "starved", "other"])
def test_a_twin_is_a_trained_network_of_the_same_build(way: str) -> None:
    mine, its = nn.Linear(2, 2), nn.Linear(2, 3 if way == "other" else 2)
    its.requires_grad_(way != "frozen")
    starved = [*mine.parameters(), *(its.parameters() if way == "starved" else ())]
    whole = nn.ModuleDict({"mine": mine, "its": its})
    roots: dict[int, Any] = {1: mine, 2: its} if way == "another model" else {1: whole}
    found = Held(roots, Ownership(Registry()), starved)
    assert found.has_twin(mine.weight) == way.startswith("another")


def test_a_parameter_has_all_of_its_places() -> None:
    shared = nn.Linear(2, 2)
    first, second = nn.Sequential(shared), nn.ModuleDict({"x": shared})
    found = Held({1: first, 2: second}, Ownership(Registry()), [])
    assert found.places[id(shared.weight)] == [(1, first, "0.weight"), (2, second, "x.weight")]
