"""A watched process in miniature: hand-written "rewritten" code, and what it makes known."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tcstatic.check import Driver
from tcstatic.invariants.rules import default_rules_folder, load_rules
from tcstatic.model import Event, Finding, Location, Member, Needs, Site
from tcstatic.runtime.probes import Watch, entry

FORWARD, BACKWARD, CLEAR, LOOP, NEW, COPY, WITHIN = 1, 2, 3, 4, 5, 6, 7
SITES = (
    Site(FORWARD, "on", "model.forward", Location("train.py", 1), subject="model"),
    Site(BACKWARD, "on", "loss.backward", Location("train.py", 2), callee=".backward"),
    Site(CLEAR, "on", "optimizer.zero_grad", Location("train.py", 3), callee=".zero_grad"),
    Site(LOOP, "loop", "loop.step", Location("train.py", 4)),
    Site(NEW, "after", "optimizer.new", Location("train.py", 5)),
    Site(COPY, "after", "model.new", Location("train.py", 6), callee="copy.deepcopy"),
    Site(
        WITHIN, "loop", "loop.step", Location("train.py", 7), arguments={"within": "comprehension"}
    ),
)
RULES = load_rules([default_rules_folder()])


class Watched:
    """All events of a watch, and what our own rules say of them."""

    def __init__(self, budget: float = 1.0) -> None:
        self.events: list[Event] = []
        self.settled = 0
        self._driver = Driver(RULES)
        root = os.path.dirname(__file__)
        needs: Needs = self._driver.needs
        self.watch = Watch(SITES, root, needs, budget, self._emit, self._settle)
        self.parts: Any = self.watch._parts

    def _emit(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        self._driver.feed_all(events)

    def _settle(self) -> None:
        self.settled += 1

    def findings(self) -> tuple[Finding, ...]:
        """What is reported, once all that waits is told."""
        self.watch.flush()
        self._driver.settle(final=True)
        return self._driver.findings()

    def codes(self) -> list[tuple[str, int | None]]:
        """Codes and steps of the findings, without notes."""
        return [(one.code, one.step) for one in self.findings() if one.severity != "note"]

    def of(self, kind: str) -> list[Event]:
        """The events of one kind."""
        self.watch.flush()
        return [one for one in self.events if one.kind == kind]

    def members(self, position: int = 0) -> Iterator[Member]:
        """How one parameter fared in each step."""
        return (one.members[position] for one in self.of("optimizer.step"))

    def changed(self, position: int = 0) -> list[bool | None]:
        """Whether one parameter was seen to change, step by step."""
        return [one.fields["changed"] for one in self.members(position)]  # type: ignore[misc]

    def disabled(self) -> tuple[tuple[str, str], ...]:
        """Probes that were switched off, with the reason."""
        return self.watch.counts().disabled


def batch(inputs: int = 3, rows: int = 4) -> torch.Tensor:
    """The same numbers every time."""
    return torch.linspace(-1.0, 2.0, rows * inputs).reshape(rows, inputs)


def linear(inputs: int = 3, outputs: int = 2) -> torch.nn.Linear:
    """A model that starts at the same place every time."""
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs)


def train(model: Any, optimizer: Any, steps: int, x: Any = None, *, clear: bool = True) -> None:
    """Steps as rewritten code takes them."""
    x = batch() if x is None else x
    entry.after(NEW, optimizer)
    for _ in range(steps):
        if clear:
            entry.after(CLEAR, entry.on(CLEAR, optimizer).zero_grad())
        loss = entry.after(FORWARD, entry.on(FORWARD, model)(x)).pow(2).mean()
        entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())
        optimizer.step()
