"""Briefs that agree are enough; of those that do not, one of each kind is asked for the whole."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

from tcstatic.runtime.probes.exchange import KEPT, SLOTS, Brief, Exchange, alike
from tcstatic.runtime.probes.meeting import Meeting
from tcstatic.runtime.probes.partings import Round

NOTED = Round(0, {"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}, (0, 1, 2, 3), (7, 8), {}, (0.1,))
OTHER = replace(NOTED, values={"a": 1.0, "b": 5.0})


@pytest.fixture
def ranks() -> list[Exchange]:
    store = dist.HashStore()
    c10d = SimpleNamespace(_get_default_store=lambda: store)
    group: Any = SimpleNamespace(distributed_c10d=c10d, PrefixStore=dist.PrefixStore)
    return [Exchange(Meeting(group), rank, 4) for rank in range(4)]


def publish(ranks: list[Exchange], turn: int, *rounds: Round) -> None:
    for one, noted in zip(ranks[1:], rounds, strict=True):
        one.publish((0, turn), noted)


def test_ranks_that_agree_are_asked_for_nothing(ranks: list[Exchange]) -> None:
    astray = replace(NOTED, sites=(7, 9, 8))
    publish(ranks, 0, NOTED, astray, NOTED)
    assert ranks[0].gathered((0, 0), NOTED) == ({0: NOTED, 1: NOTED, 2: astray, 3: NOTED}, True)
    assert not ranks[0].awaits((0, 0))


def test_one_of_each_other_kind_is_asked(ranks: list[Exchange]) -> None:
    publish(ranks, 0, NOTED, OTHER, OTHER)
    assert ranks[0].gathered((0, 0), NOTED) is None
    assert ranks[0].awaits((0, 0))
    assert ranks[0].gathered((0, 0), NOTED) is None
    publish(ranks, 1, NOTED, NOTED, NOTED)
    assert ranks[0].gathered((0, 0), NOTED) == ({0: NOTED, 1: NOTED, 2: OTHER, 3: OTHER}, False)
    assert not ranks[0].awaits((0, 0))
    assert ranks[0].gathered((0, 1), NOTED) == (dict.fromkeys(range(4), NOTED), True)


@pytest.mark.parametrize(
    "noted",
    [
        replace(NOTED, gradients=None),
        replace(NOTED, rates=(0.2,)),
        replace(NOTED, group=()),
        replace(NOTED, results={7: 1.0}),
        replace(NOTED, backwards=1),
        replace(NOTED, early=(3,)),
        replace(NOTED, values={"b": 2.0, "a": 1.0, "c": 0.0}),
    ],
)
def test_whatever_differs_is_asked_for(ranks: list[Exchange], noted: Round) -> None:
    publish(ranks, 0, NOTED, NOTED, noted)
    assert ranks[0].gathered((0, 0), NOTED) is None
    ranks[3].answer()
    found = ranks[0].gathered((0, 0), NOTED)
    assert found is not None and found[0][3] == noted and not found[1]


def test_what_has_not_arrived_is_not_awaited(ranks: list[Exchange]) -> None:
    assert ranks[0].gathered((0, 0), NOTED) is None
    publish(ranks[:3], 0, NOTED, NOTED)
    assert ranks[0].gathered((0, 0), NOTED) is None
    assert not ranks[0].awaits((0, 0))


def test_a_slot_that_is_used_again_is_no_brief_of_another_update(ranks: list[Exchange]) -> None:
    publish(ranks, 0, NOTED, NOTED, NOTED)
    assert ranks[0].gathered((0, SLOTS), NOTED) is None
    publish(ranks, SLOTS, NOTED, NOTED, NOTED)
    assert ranks[0].gathered((0, SLOTS), NOTED) is not None


def test_what_is_kept_for_an_answer_is_bounded(ranks: list[Exchange]) -> None:
    for turn in range(3 * KEPT):
        publish(ranks, turn, OTHER, OTHER, OTHER)
    assert ranks[0].gathered((0, KEPT), NOTED) is None
    assert all(len(one._kept) == KEPT for one in ranks[1:])


def test_a_brief_is_short_whatever_it_is_about() -> None:
    names = [f"layer.{number}.weight" for number in range(10_000)]
    large = replace(NOTED, values=dict.fromkeys(names, 1.0), gradients=dict.fromkeys(names, 1.0))
    text = Brief.of(large).to_text()
    assert len(text) < 64
    assert Brief.from_text(text) == Brief.of(large)
    assert Brief.from_text(Brief.of(replace(large, sites=())).to_text()).sites == ()


def test_some_ranks_stand_for_all() -> None:
    astray = replace(NOTED, sites=(9,))
    now = {0: NOTED, 1: NOTED, 2: NOTED, 3: astray, 4: astray}
    assert alike(now) == {0: NOTED, 1: NOTED, 3: astray}
