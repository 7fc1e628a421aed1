"""Briefs of a node are gathered there: the job's store hears of each node once."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch.distributed as dist

from tcstatic.runtime.probes.exchange import Exchange
from tcstatic.runtime.probes.meeting import Meeting
from tcstatic.runtime.probes.partings import Round
from tcstatic.runtime.probes.relay import Node, folded, unfolded

WORLD, SIZE = 12, 4
NOTED = Round(0, {"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}, tuple(range(WORLD)), (7, 8))
OTHER = replace(NOTED, values={"a": 1.0, "b": 5.0})


def meeting(store: Any) -> Meeting:
    c10d = SimpleNamespace(_get_default_store=lambda: store)
    group: Any = SimpleNamespace(distributed_c10d=c10d, PrefixStore=dist.PrefixStore)
    return Meeting(group)


def job(*, late: frozenset[int] = frozenset()) -> tuple[list[Exchange], dict[str, Any]]:
    """All ranks of three nodes, of which those that are `late` begin last."""
    far = meeting(dist.HashStore())
    stores: dict[str, Any] = {}

    def rank_of(rank: int) -> Exchange:
        def serve() -> tuple[Meeting, str]:
            stores[str(rank)] = dist.HashStore()
            return meeting(stores[str(rank)]), str(rank)

        node = Node(far, rank, SIZE, serve, lambda address: meeting(stores[address]))
        return Exchange(far, rank, WORLD, node)

    order = sorted(range(WORLD), key=lambda rank: (rank in late, rank))
    ranks = {rank: rank_of(rank) for rank in order}
    return [ranks[rank] for rank in range(WORLD)], stores


def publish(ranks: list[Exchange], turn: int, odd: dict[int, Round], *skipped: int) -> None:
    for rank, one in enumerate(ranks):
        if rank and rank not in skipped:
            one.publish((0, turn), replace(odd.get(rank, NOTED), source=f"{rank:x}-"))


def gathered(ranks: list[Exchange], times: int) -> tuple[dict[int, Round], bool]:
    """What rank 0 knows of the first update after all ranks were called at most so many times."""
    found = None
    for _ in range(times):
        if found is None:
            for one in ranks:
                one.answer()
            found = ranks[0].gathered((0, 0), NOTED)
    assert found is not None
    return found


def test_texts_survive_their_fold() -> None:
    texts = ["a b 1,2 x-", "a b 1,2 y-", "c b 1 x-", "a b 1,2 "]
    assert unfolded(folded(texts)) == texts


def test_what_ranks_of_all_nodes_noted_meets() -> None:
    ranks, _ = job()
    own = replace(NOTED, source="0-")
    publish(ranks, 0, {})
    for one in ranks:
        one.answer()
    found = ranks[0].gathered((0, 0), own)
    assert found is not None
    assert found[1]
    assert found[0] == {rank: replace(NOTED, source=f"{rank:x}-") for rank in range(WORLD)}


def test_whoever_differs_is_asked_wherever_it_is() -> None:
    for rank in range(1, WORLD):
        ranks, _ = job()
        publish(ranks, 0, {rank: OTHER})
        found = gathered(ranks, 3)
        assert {other for other, its in found[0].items() if its.values != NOTED.values} == {rank}


def test_a_node_whose_first_rank_is_late_is_heard_of() -> None:
    ranks, _ = job(late=frozenset({4, 8}))
    publish(ranks, 0, {6: OTHER})
    found = gathered(ranks, 4)
    assert found[0][6].values == OTHER.values


def test_a_rank_that_has_nothing_to_say_is_waited_for_by_nobody() -> None:
    ranks, _ = job()
    publish(ranks, 0, {}, 5)
    for one in ranks:
        one.answer()
    assert ranks[0].gathered((0, 0), NOTED) is None
    assert not ranks[0].awaits((0, 0))
    publish(ranks, 1, {})
    for one in ranks:
        one.answer()
    assert ranks[0].gathered((0, 1), NOTED) is not None
