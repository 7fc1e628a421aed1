"""History: what is kept of an object, and that it stays small."""

from __future__ import annotations

from tcstatic.check.history import HEARD, KEPT, History
from tcstatic.model import Event, Location


def event(sequence: int, kind: str, line: int = 1, role: str = "model", number: int = 1) -> Event:
    return Event(kind, sequence, Location("train.py", line), {role: (number,)})


def sequences(history: History, *numbers: int) -> list[int]:
    return [one.sequence for one in history.of(numbers)]


def test_the_same_kind_and_place_is_kept_once() -> None:
    history = History()
    for sequence in range(1, 9):
        history.note(event(sequence, "model.train", line=5))
        history.note(event(100 + sequence, "model.eval", line=5))
    history.note(event(200, "model.eval", line=6))
    # the first that was ever seen, and the last of each kind and place
    assert sequences(history, 1) == [1, 8, 108, 200]


def test_it_is_bounded_and_the_first_stays() -> None:
    history = History()
    for line in range(1, 3 * KEPT):
        history.note(event(line, "model.mutate", line))
    assert sequences(history, 1) == [1, *range(2 * KEPT, 3 * KEPT)]
    first = history.first(1)
    assert first is not None
    assert first.sequence == 1


def test_a_repeated_event_is_young_again() -> None:
    history = History()
    for line in range(1, KEPT + 1):
        history.note(event(line, "model.mutate", line))
    history.note(event(KEPT + 1, "model.mutate", line=2))
    history.note(event(KEPT + 2, "model.mutate", line=KEPT + 1))
    history.note(event(KEPT + 3, "model.mutate", line=KEPT + 2))
    assert KEPT + 1 in sequences(history, 1)
    assert 3 not in sequences(history, 1)


def test_uses_of_an_object_are_not_history() -> None:
    history = History()
    for kind in ("model.forward", "optimizer.step", "loss.backward", "gap"):
        history.note(event(1, kind))
    assert history.of([1]) == ()
    assert history.first(1) is None


def test_a_listener_hears_every_kind() -> None:
    history = History()
    history.note(event(1, "loss.backward", role=HEARD, number=-7))
    history.note(event(2, "loss.backward", role="optimizer", number=7))
    assert sequences(history, -7, 7) == [1]


def test_events_of_several_objects_come_once_and_in_order() -> None:
    history = History()
    history.note(Event("wrap.new", 3, None, {"model": (1, 2), "parameter": (3,)}))
    history.note(event(4, "model.train", number=2))
    history.note(event(5, "model.freeze", role="parameter", number=3))
    assert sequences(history, 3, 2, 1) == [3, 4, 5]
    assert sequences(history, 99) == []
