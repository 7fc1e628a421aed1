"""Generated programs do the same things in the same order, and fail with the same traceback."""

from __future__ import annotations

import builtins
import re
import traceback
import types
import warnings
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from hypothesis import given, settings

from tcstatic.model import Rewritten
from tcstatic.program.source import read_module
from tcstatic.rewrite import compile_instrumented, every_site, instrument
from tests.properties.programs import PROGRAMS

PATH = Path("generated.py")
# Operations after which a program is stopped: a generated loop need not end by itself.
MOST = 150
ADDRESS = re.compile(" at 0x[0-9a-f]+")


class Enough(Exception):
    """The program did enough."""


class Thing:
    """Bears any operation, and notes it."""

    def __init__(self, log: list[str], name: str) -> None:
        object.__setattr__(self, "_log", log)
        object.__setattr__(self, "_name", name)

    def _note(self, what: str) -> Thing:
        self._log.append(ADDRESS.sub("", f"{self._name}{what}"))
        if len(self._log) >= MOST:
            raise Enough
        return Thing(self._log, f"t{len(self._log)}")

    def __getattr__(self, name: str) -> Thing:
        return self._note(f".{name}")

    def __setattr__(self, name: str, value: object) -> None:
        self._note(f".{name} = {value!r}")

    def __delattr__(self, name: str) -> None:
        self._note(f".{name} deleted")

    def __call__(self, *args: object, **kwargs: object) -> Thing:
        return self._note(f"{args}{sorted(kwargs.items())}")

    def __iter__(self) -> Any:
        self._note(" iterated")
        return iter([Thing(self._log, f"{self._name}.1"), Thing(self._log, f"{self._name}.2")])

    def __bool__(self) -> bool:
        self._note("?")
        return len(self._log) % 3 == 0

    def __add__(self, other: object) -> Thing:
        return self._note(f" + {other!r}")

    __radd__ = __iadd__ = __add__

    def __getitem__(self, key: object) -> Thing:
        return self._note(f"[{key!r}]")

    def __enter__(self) -> Thing:
        return self._note(" entered")

    def __exit__(self, *error: object) -> None:
        self._note(f" left with {error[0]}")

    def keys(self) -> list[str]:
        self._note(" keys")
        return ["key"]

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return str(self._name)


def did(code: CodeType) -> tuple[list[str], str]:
    """What a program did to the things that it was given, and how it failed."""
    log: list[str] = []
    names = {name: Thing(log, name) for name in "a b d f g q p r model opt self x1 é B".split()}
    try:
        exec(code, {**names, "__name__": "generated"})
    except Enough:
        return log, "enough"
    except Exception as error:
        trace = error.__traceback__
        assert trace is not None
        own = error.with_traceback(trace.tb_next)
        return log, ADDRESS.sub("", "".join(traceback.format_exception(own)))
    return log, ""


def hand_on(number: int, value: Any) -> Any:
    return value


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = dict.fromkeys(("after", "on", "target", "loop"), hand_on)
    monkeypatch.setattr(builtins, "_tcstatic", types.SimpleNamespace(**methods), raising=False)


def test_things_note_what_is_done_to_them() -> None:
    text = "a.b = d(1, k=q)\nfor x in f: x.y += g\n"
    log, failed = did(compile(text, "x.py", "exec"))
    assert failed == ""
    assert log[:4] == ["d(1,)[('k', q)]", "a.b = t1", "f iterated", "f.1.y"]


@given(PROGRAMS)
@settings(max_examples=400)
def test_generated_programs_do_the_same(text: str) -> None:
    # A generated `while` may have no end, not even by what it does to things.
    source = text.replace("while(", "if(").encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            original = compile(source, str(PATH), "exec", dont_inherit=True)
        except SyntaxError:
            return
        outcome = instrument(
            PATH, source, every_site(read_module(PATH, source, ""), 1, recorded=True)
        )
        if isinstance(outcome, Rewritten):
            rewritten = compile_instrumented(source, outcome.text, str(PATH))
            assert did(rewritten) == did(original)
