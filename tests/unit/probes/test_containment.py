"""A probe that raises is switched off, counted and named; training goes on."""

from __future__ import annotations

import threading
from typing import Any, NoReturn

import pytest
import torch

from tcstatic.runtime.probes import entry
from tests.unit.probes.watching import (
    BACKWARD,
    CLEAR,
    FORWARD,
    NEW,
    SITES,
    Watched,
    batch,
    linear,
    train,
)


def trained() -> torch.Tensor:
    model = linear()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 4)
    return model.weight.detach()


@pytest.mark.parametrize(
    ("part", "method", "named"),
    [
        ("updates", "step_begins", "optimizer.step"),
        ("updates", "step_ends", "optimizer.step"),
        ("forwards", "begins", "model.forward at train.py:1"),
        ("forwards", "ends", "model.forward at train.py:1"),
        ("updates", "backward_begins", "loss.backward at train.py:2"),
        ("updates", "cleared", "optimizer.zero_grad at train.py:3"),
        ("updates", "known", "optimizer.new at train.py:5"),
    ],
)
def test_a_probe_that_raises(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, part: str, method: str, named: str
) -> None:
    calls = []

    def broken(*given: Any, **more: Any) -> NoReturn:
        calls.append(method)
        raise ZeroDivisionError("ours")

    watched.watch.pause()
    plain = trained()
    again = Watched()
    monkeypatch.setattr(getattr(again.parts, part), method, broken)
    assert torch.equal(trained(), plain)
    counts = again.watch.close()
    assert (named, "ZeroDivisionError: ours") in counts.disabled
    assert counts.installed == len(SITES)
    # once per probe: the one of the site, that of torch's hook, and the one at the end
    assert len(calls) <= 3
    again.findings()


def test_the_other_probes_go_on(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(watched.parts.forwards, "begins", broken)
    trained()
    assert watched.disabled() == (("model.forward at train.py:1", "ZeroDivisionError: "),)
    assert watched.changed() == [True] * 4
    assert watched.of("model.forward") == []


def test_what_is_handed_in_is_handed_back(watched: Watched) -> None:
    class Odd:
        """Fails whoever looks at it."""

        def __getattr__(self, name: str) -> NoReturn:
            raise RuntimeError(name)

        def __eq__(self, other: object) -> NoReturn:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    for thing in (Odd(), None, 5, Odd, torch.ones(0), object(), [Odd()]):
        for number in (FORWARD, BACKWARD, CLEAR, NEW, 99):
            assert entry.after(number, thing) is thing
            assert entry.on(number, thing) is thing
            assert entry.target(number, thing) is thing


def test_another_thread_is_not_watched(watched: Watched) -> None:
    done: list[torch.Tensor] = []
    before = len(watched.events)
    worker = threading.Thread(target=lambda: done.append(entry.on(FORWARD, linear())(batch())))
    worker.start()
    worker.join()
    assert len(done) == 1
    assert len(watched.events) == before
    assert watched.parts.forwards._open == []


def test_reading_is_not_watched(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What our own work calls is no event of the user's."""
    inside: list[bool] = []

    def nosy(*given: Any) -> None:
        inside.append(watched.watch._busy)
        entry.on(CLEAR, given[0])

    monkeypatch.setattr(watched.parts.forwards, "begins", nosy)
    entry.on(FORWARD, linear())
    assert inside == [True]
    assert watched.disabled() == ()


def test_after_the_end_nothing_is_told() -> None:
    seen = Watched()
    trained()
    counts = seen.watch.close()
    before = len(seen.events)
    assert counts.events == before > 0
    trained()
    assert len(seen.events) == before


def test_steps_that_are_not_watched_are_a_gap() -> None:
    seen = Watched(budget=0.0)
    model = linear()
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), 40)
    seen.watch.close()
    assert len(seen.of("optimizer.step")) == 20
    (begun, over) = seen.of("gap")
    assert not begun.subjects
    assert over.subjects == {"optimizer": seen.of("optimizer.step")[0].subjects["optimizer"]}
    assert seen.watch.steps == 40
    assert seen.watch.counts().sampled == 0.5
    assert seen.codes() == []
