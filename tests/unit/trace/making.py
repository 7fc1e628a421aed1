"""Events and recordings for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tcstatic.model import Context, Event, Location, Member, ProbeCounts, Recording
from tcstatic.trace import Recorder


def training(steps: int, rank: int = 0) -> Iterator[Event]:
    """What a run of an ordinary loop tells: four events a step, told as the probes tell them."""
    places = [Location("train.py", line, 5, line, 20, "main") for line in range(10, 14)]
    members = tuple(
        Member(n, f"layers.{n}.weight", {"trainable": True, "finite": True, "since": None})
        for n in range(1, 7)
    )
    optimizer, model = {"optimizer": (8,)}, {"model": (7,)}
    sequence = 0
    for step in range(steps):
        epoch = step // 10
        fields = {"step": step, "rank": rank, "grad_enabled": True, "epoch": epoch}
        train = {**fields, "stage": "train"}
        facts = {"type": "SGD", "changed": 6, "live": frozenset(range(1, 7)), "ok": True}
        for kind, place, subjects, values, context, of in (
            ("optimizer.zero_grad", 0, optimizer, {"observed": False}, fields, ()),
            ("model.forward", 1, model, {"training": True, "loss": 1 / (step + 1)}, train, ()),
            ("loss.backward", 2, {**optimizer, **model}, {"reached": 1}, fields, ()),
            ("optimizer.step", 3, optimizer, facts, {**train, "optimizer_step": step}, members),
        ):
            sequence += 1
            yield Event(
                kind,
                sequence,
                places[place],
                subjects,
                values,
                Context(dict(context)),
                of,
                step,
                epoch,
                rank,
            )


def recording(folder: Path, command: str = "tcstatic run train.py") -> Recording:
    """The recording of a script."""
    return Recording(str(folder), command, "train.py", in_scope=("TCS101",))


def record(folder: Path, events: Iterable[Event], every: int = 0, rank: int | None = 0) -> Recorder:
    """Record events, flushed after each `every` of them; the driver settles after each step."""
    recorder = Recorder(recording(folder))
    for number, event in enumerate(events, 1):
        recorder.take(event)
        if event.kind == "optimizer.step":
            recorder.settled()
        if every and number % every == 0:
            recorder.flush(rank)
    recorder.end(rank, 0, ProbeCounts(installed=3, events=9))
    return recorder
