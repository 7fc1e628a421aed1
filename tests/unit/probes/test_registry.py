"""Numbers of objects: one for life, never reused, and no object is kept alive."""

from __future__ import annotations

import copy
import gc
import weakref

import torch

from tcstatic.runtime.probes.registry import Registry


class Thing:
    """Something that can be referenced weakly."""


def test_an_object_keeps_its_number() -> None:
    registry, one, two = Registry(), Thing(), Thing()
    assert registry.known(one) == 0
    assert registry.number(one) == registry.number(one) == registry.known(one) == 1
    assert registry.number(two) == 2
    assert registry.thing(2) is two
    assert registry.thing(3) is None


def test_an_id_that_is_reused_is_another_number() -> None:
    registry = Registry()
    seen: set[int] = set()
    numbers = []
    for _ in range(50):
        tensor = torch.ones(2)
        seen.add(id(tensor))
        numbers.append(registry.number(tensor))
        del tensor
    assert len(seen) < 50  # as within a step, the memory came back
    assert numbers == list(range(1, 51))
    assert registry.thing(50) is None
    assert not registry._known
    assert not registry._refs


def test_it_keeps_nothing_alive() -> None:
    registry, thing = Registry(), Thing()
    registry.number(thing)
    alive = weakref.ref(thing)
    del thing
    assert alive() is None

    one, two = Thing(), Thing()
    one.other, two.other = two, one  # type: ignore[attr-defined]
    numbers = registry.number(one), registry.number(two)
    del one, two
    gc.collect()
    assert [registry.thing(number) for number in numbers] == [None, None]


def test_equal_tensors_are_different_objects() -> None:
    registry, one = Registry(), torch.ones(3)
    two = one.clone()
    assert registry.number(one) != registry.number(two)
    assert registry.known(one.view(3)) == 0
    assert registry.number(copy.copy(one)) not in (1, 2)


def test_what_cannot_be_referenced_has_no_number() -> None:
    registry = Registry()
    assert [registry.number(thing) for thing in (5, "x", (1,), None)] == [0, 0, 0, 0]
    assert registry.number(Thing()) == 1
