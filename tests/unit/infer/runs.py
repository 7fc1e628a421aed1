"""Events of runs that are learnt from."""

from __future__ import annotations

from tcstatic.model import Context, Event, Location, Member


def healthy(steps: int = 12, *, model: str = "Net", clip: bool = False) -> list[Event]:
    """A run that trains, evaluates after every fourth step, and trains on."""
    events: list[Event] = []

    def add(kind: str, role: str, stage: str, **values: object) -> None:
        where = Location("train.py", 10 + len(kind), 1, 10 + len(kind), 9, "main")
        fields = {"step": len(events), "stage": stage, "grad_enabled": stage == "train"}
        subject = {role: (1 if role == "optimizer" else 2,)}
        members = (
            Member(3, "Linear.weight", {"trainable": True, "changed": True}),
            Member(4, "Linear.bias", {"trainable": False, "changed": False}),
        )
        events.append(
            Event(
                kind,
                len(events),
                where,
                subject,
                values,
                Context(fields),
                members if kind == "optimizer.step" else (),
                step=len(events),
            )
        )

    for step in range(steps):
        add("optimizer.zero_grad", "optimizer", "train", type="SGD")
        add("model.forward", "model", "train", type=model, training=True)
        add("loss.backward", "optimizer", "train")
        if clip:
            add("grad.clip", "optimizer", "train")
        add("optimizer.step", "optimizer", "train", type="SGD", finite=True)
        if step % 4 == 3:
            add("model.forward", "model", "evaluate", type=model, training=False)
    return events
