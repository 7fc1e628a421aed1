"""Loops: seen from beside the iterator, which stays the user's own."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tcstatic.runtime.probes import entry
from tcstatic.runtime.probes.loops import Loop, watched
from tests.unit.probes.watching import LOOP, WITHIN, Watched


class Told:
    """What a loop's ticker told."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.items: list[Any] = []
        self.ended = 0
        self.loop: Any = SimpleNamespace(index=-1, load=None)

    def over(self, iterable: Any) -> Iterator[Any]:
        return watched(iterable, self.loop, self._turn, self._end, self._item)

    def _turn(self, loop: Loop) -> None:
        self.turns.append(loop.index)

    def _end(self, loop: Loop) -> None:
        self.ended += 1

    def _item(self, loop: Loop, item: Any) -> None:
        self.items.append(item)


@pytest.mark.parametrize("items", [[], [0], [0, 0, None], "abc", {"a": 1}, range(5)])
def test_the_same_items(items: Any) -> None:
    told = Told()
    assert list(told.over(items)) == list(items)
    assert told.turns[: len(items)] == list(range(len(items)))
    assert told.ended == 1


def test_a_loop_that_is_left_early_ends() -> None:
    told = Told()
    for item in told.over(range(10)):
        if item == 3:
            break
    assert (told.turns, told.ended) == ([0, 1, 2, 3], 1)


def test_the_iterator_is_asked_for_at_the_first_turn_and_closed_at_the_end() -> None:
    order: list[str] = []

    def items() -> Iterator[int]:
        order.append("begun")
        try:
            yield 1
            yield 2
        finally:
            order.append("closed")

    found = Told().over(items())
    order.append("made")
    for _ in found:
        break
    del found
    assert order == ["made", "begun", "closed"]


def test_the_users_exception_passes_with_no_frame_of_ours(watched: Watched) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("the data ends here")

    with pytest.raises(LookupError, match="the data ends here") as caught:
        for _ in entry.loop(LOOP, items()):
            pass
    frames = traceback.extract_tb(caught.tb)
    assert [frame.name for frame in frames] == [
        "test_the_users_exception_passes_with_no_frame_of_ours",
        "items",
    ]
    assert watched.disabled() == ()


@pytest.mark.parametrize("what", [5, None, 2.5, Told])
def test_what_is_no_iterable_raises_pythons_own_error(watched: Watched, what: Any) -> None:
    with pytest.raises(TypeError) as plain:
        for _ in what:
            pass
    with pytest.raises(TypeError) as ours:
        for _ in entry.loop(LOOP, what):
            pass
    assert str(ours.value) == str(plain.value)
    assert len(traceback.extract_tb(ours.tb)) == len(traceback.extract_tb(plain.tb)) == 1


class Item:
    """Something that can be seen to die."""


@pytest.mark.parametrize("seen", [False, True])
def test_items_are_not_kept_alive(watched: Watched, seen: bool) -> None:
    made: list[weakref.ref[Item]] = []
    alive: list[int] = []

    def items() -> Iterator[Item]:
        for _ in range(4):
            alive.append(sum(one() is not None for one in made))
            item = Item()
            made.append(weakref.ref(item))
            yield item
            del item

    for item in entry.loop(LOOP, items()) if seen else items():
        assert item is made[-1]()
        del item
        assert made[-1]() is not None  # the generator still names it
    assert alive == [0, 0, 0, 0]


def test_epochs_are_counted_around_the_loop_over_a_loader(watched: Watched) -> None:
    loader = DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)
    stream = watched.parts.stream
    seen = []
    for _ in entry.loop(LOOP, range(2)):
        for _ in entry.loop(LOOP, loader):
            seen.append((stream.epoch, stream.loops[-1].index, stream.loops[-1].loaded))
    assert seen == [(0, 0, True), (0, 1, True), (1, 0, True), (1, 1, True)]
    assert stream.loops == []


def test_a_loop_left_by_an_exception_ends(watched: Watched) -> None:
    with pytest.raises(KeyError):
        for _ in entry.loop(LOOP, range(3)):
            raise KeyError
    assert watched.parts.stream.loops == []


def test_a_comprehension_asks_for_its_iterator_at_once(watched: Watched) -> None:
    loader = DataLoader(TensorDataset(torch.arange(4.0)), batch_size=2, shuffle=True)
    drawn = []
    for seen in (False, True):
        torch.manual_seed(0)
        batches = (x.tolist() for (x,) in (entry.loop(WITHIN, loader) if seen else loader))
        noise = torch.rand(1).item()  # after the loader has drawn its seed
        drawn.append((noise, list(batches)))
    assert drawn[0] == drawn[1]
    assert watched.parts.stream.loops == []


@pytest.mark.parametrize("what", [5, None, [1, 2], (x for x in "ab"), range(4)])
def test_a_comprehension_over_anything_else_is_let_be(watched: Watched, what: Any) -> None:
    assert entry.loop(WITHIN, what) is what


def test_a_comprehension_over_slices_counts_as_a_loop(watched: Watched) -> None:
    loops = watched.parts.stream.loops
    assert [(i, loops[-1].sliced) for i in entry.loop(WITHIN, range(0, 9, 4))] == [
        (0, True),
        (4, True),
        (8, True),
    ]
    assert loops == []


class Items(Dataset[Any]):
    """Gives items that can be seen to die; the one after the last fails."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Item:
        if index == 4:
            raise LookupError("the data ends here")
        return Item()


def _first(batch: list[Item]) -> Item:
    return batch[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_items_of_a_loader_that_are_looked_at_are_not_kept(watched: Watched, workers: int) -> None:
    given: list[weakref.ref[Item]] = []
    loader = DataLoader(Items(), collate_fn=_first, num_workers=workers)
    alive = []
    with pytest.raises(LookupError) as caught:
        for item in entry.loop(LOOP, loader):
            assert watched.parts.stream.loops[-1].load.looking == (workers > 1)
            given.append(weakref.ref(item))
            del item
            alive.append(sum(one() is not None for one in given))
    assert alive == [0, 0, 0, 0]
    own = [frame for frame in traceback.extract_tb(caught.tb) if "tcstatic/" in frame.filename]
    assert own == []
    assert watched.disabled() == ()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_and_draws_the_same(watched: Watched, workers: int) -> None:
    data = TensorDataset(torch.arange(12.0))
    given = []
    for seen in (False, True):
        torch.manual_seed(0)
        loader = DataLoader(data, batch_size=2, shuffle=True, num_workers=workers)
        batches = entry.loop(LOOP, loader) if seen else loader
        given.append(([x.tolist() for (x,) in batches], torch.rand(1).item()))
    assert given[0] == given[1]
    assert watched.disabled() == ()
