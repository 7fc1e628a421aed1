"""Events that are kept for whoever may name them: nobody hears those of another."""

from __future__ import annotations

from typing import get_args

from torch.utils.data import DataLoader, TensorDataset

from tcstatic.model import Finding, Location, Site
from tcstatic.runtime.probes.loops import Loop
from tcstatic.runtime.probes.stream import Listener, listener
from tests.unit.probes.test_kept import load, sgd, take
from tests.unit.probes.watching import Watched, batch, linear, train

FIRST, SECOND = (
    Site(line, "loop", "loop.step", Location("train.py", line), arguments={"left": f"{line + 2}"})
    for line in (50, 60)
)


def lines_of(finding: Finding) -> set[int]:
    return {step.line for step in finding.witness}


def test_what_is_kept_for_one_finding_is_no_witness_of_another(watched: Watched) -> None:
    model = linear()
    optimizer = sgd(model)
    state = take(watched, model)
    train(model, optimizer, 2)
    load(watched, model, state)
    loader = DataLoader(TensorDataset(batch(rows=8)), batch_size=4)
    loaders = watched.parts.loaders
    for site in (FIRST, SECOND) * 2:
        loop = Loop(site, site.location, loaded=True, listed=False)
        loaders.begins(loop, loader)
        loop.index = 0
        train(model, optimizer, 1)
        loaders.ends(loop)
    found = {one.where.line: (one.code, lines_of(one)) for one in watched.findings()}
    assert found[40] == ("TCS701", {40, 41})
    assert found[52] == ("TCS613", {52})
    assert found[62] == ("TCS613", {62})


def test_no_two_have_the_same_number() -> None:
    kinds = get_args(Listener)
    objects = [*range(100), *range(10**6, 10**6 + 100), *range(10**9, 10**9 + 100)]
    numbers = {listener(kind, number) for kind in kinds for number in objects}
    assert len(numbers) == len(objects) * len(kinds)
    assert max(numbers) < 0
