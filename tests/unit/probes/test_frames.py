"""The names of a function in progress are read, and nothing of it lives longer for that."""

from __future__ import annotations

import gc
import sys
import weakref
from types import FrameType
from typing import Any

from tcstatic.runtime.probes.frames import names_in


class Thing:
    """May be referenced weakly."""


def test_a_value_that_the_function_lets_go_of_is_gone() -> None:
    def work(first: Thing) -> tuple[list[str], Any]:
        second = Thing()
        seen = weakref.ref(second)
        names = list(names_in(sys._getframe()))
        del second
        gc.collect()
        return names, seen()

    assert work(Thing()) == (["first", "second", "seen"], None)


def test_the_names_stay_as_they_are() -> None:
    def work(x: int) -> tuple[dict[str, Any], int, int]:
        y = 2
        read: dict[str, Any] = {}
        read |= names_in(sys._getframe())
        names_in(sys._getframe())
        return read, x, y

    read, x, y = work(1)
    assert (read["x"], read["y"], x, y) == (1, 2, 1, 2)


def test_what_the_function_has_asked_for_itself_is_its_own() -> None:
    def work(x: int) -> dict[str, Any]:
        own = locals()
        names_in(sys._getframe())
        return own

    assert work(1)["x"] == 1


def test_a_module_is_left_as_it_is() -> None:
    space: dict[str, Any] = {"names_in": names_in, "sys": sys}
    exec("x = 1\nfound = names_in(sys._getframe())", space)
    assert space["x"] == space["found"]["x"] == 1
    exec("class A:\n    y = 2\n    found = names_in(sys._getframe())", space)
    assert space["A"].y == space["A"].found["y"] == 2


def test_a_debugger_keeps_the_names_that_it_writes_back() -> None:
    def work() -> int:
        x = 1
        y = x + 1
        return x + y

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is work.__code__:
            frame.f_locals  # noqa: B018 - as a debugger does
            names_in(frame)
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        assert work() == 3
    finally:
        sys.settrace(before)
