"""Tracebacks without us, and exit statuses."""

from __future__ import annotations

import traceback

import pytest

from tcstatic.runtime.live import endings
from tcstatic.runtime.live.endings import status_of, without_us


def ours(function):  # what stands between the user's frames
    namespace: dict = {}
    text = "def call(function):\n    return function()\n"
    exec(compile(text, endings._OURS + "runtime/live/somewhere.py", "exec"), namespace)
    return lambda: namespace["call"](function)


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(without_us(error)))


def fails() -> None:
    raise ValueError("x")


def fails_with_a_cause() -> None:
    try:
        ours(fails)()
    except ValueError as cause:
        raise KeyError("y") from cause


@pytest.mark.parametrize("user", [fails, ours(fails), fails_with_a_cause, ours(fails_with_a_cause)])
def test_our_frames_are_dropped_everywhere(user) -> None:
    with pytest.raises((ValueError, KeyError)) as caught:
        ours(user)()
    text = shown(caught.value)
    assert "somewhere.py" not in text
    assert "in fails" in text


def test_groups_are_cleaned_too() -> None:
    def both() -> None:
        errors = []
        for _ in range(2):
            try:
                ours(fails)()
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("both", errors)

    with pytest.raises(ExceptionGroup) as caught:
        both()
    assert "somewhere.py" not in shown(caught.value)


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError(1), ValueError(2)
    one.__context__, two.__context__ = two, one
    assert without_us(one) is one


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (SystemExit(), 0),
        (SystemExit(None), 0),
        (SystemExit(3), 3),
        (SystemExit(-1), 255),
        (SystemExit(256), 0),
        (SystemExit(True), 1),
        (SystemExit("went wrong"), 1),
        (SystemExit(1.5), 1),
        (ValueError(), 1),
    ],
)
def test_status(error: BaseException | None, status: int) -> None:
    assert status_of(error) == status
