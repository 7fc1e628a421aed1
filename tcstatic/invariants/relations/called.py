"""Labels of events: their kind, and of a call what was called.

``optimizer.step`` is the label of a kind, ``call NAME`` that of the calls of one function: by its
dotted name, or by the role in which a library knows a function that is the user's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from tcstatic.model import EVENT_KINDS, Event, Needs

CALL: Final = "call"
_PREFIX: Final = "call "
Matcher = Callable[[Event], bool]
_NAME: Final = re.compile(r"[^\W\d]\w*(\.[\w<>]+)*( -> \S.*)?")


def label_of_call(name: str) -> str:
    """The label of the calls of a function."""
    return _PREFIX + name


def kind_of(label: str) -> str:
    """The kind of the events that have a label."""
    return CALL if label.startswith(_PREFIX) else label


def called_in(label: str) -> str:
    """The function whose calls have a label; '' where it is that of a kind."""
    return label[len(_PREFIX) :] if label.startswith(_PREFIX) else ""


def labels_of(event: Event) -> tuple[str, ...]:
    """The labels that an event has; a function of the user's that a library knows has two."""
    if event.kind != CALL:
        return (event.kind,)
    values = event.values
    return tuple(
        _PREFIX + said
        for said in dict.fromkeys((values.get("name"), values.get("role")))
        if isinstance(said, str)
    )


def is_named(event: Event) -> bool:
    """Whether a call tells what was called."""
    return isinstance(event.values.get("name"), str)


def is_called(event: Event, name: str) -> bool:
    """Whether a call is one of this function, by name or by role."""
    values = event.values
    return bool(values.get("name") == name or values.get("role") == name)


def matcher(label: str) -> Matcher:
    """Return what tells whether an event has a label."""
    kind, name = kind_of(label), called_in(label)
    if not name:
        return lambda event: event.kind == kind
    return lambda event: event.kind == kind and is_called(event, name)


def check_label(label: Any, key: str) -> str:
    """Return a label; raise ValueError, with the key that it stands under, if it is none."""
    if isinstance(label, str) and (label in EVENT_KINDS or _is_call(label)):
        return label
    near = difflib.get_close_matches(str(label), EVENT_KINDS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{key}: {label!r} is not an event kind, nor `call FUNCTION`{hint}")


def _is_call(label: str) -> bool:
    return label.startswith(_PREFIX) and _NAME.fullmatch(label[len(_PREFIX) :]) is not None


def needs_labels(labels: Iterable[str], state: frozenset[str] = frozenset()) -> Needs:
    """What must be observed for events of these labels."""
    every = frozenset(labels)
    called = frozenset(filter(None, map(called_in, every)))
    return Needs(frozenset(map(kind_of, every)), state, called)
