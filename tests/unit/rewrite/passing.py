"""Run a program as it is and rewritten, with probes that hand on what they are given."""

from __future__ import annotations

import builtins
import contextlib
import io
import sys
import textwrap
import traceback
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from tcstatic.model import RewriteOutcome, Rewritten
from tcstatic.program.source import BOM, decode, read_module
from tcstatic.rewrite import compile_instrumented, every_site, instrument

PATH = Path("program.py")


def source_of(text: str) -> bytes:
    """A program that is written indented within a test."""
    return textwrap.dedent(text).lstrip("\n").encode()


def everywhere(source: bytes, path: Path = PATH, *, recorded: bool = False) -> RewriteOutcome:
    """Rewrite with a probe at every place that a probe can have."""
    facts = read_module(path, source, path.stem)
    return instrument(path, source, every_site(facts, 1, recorded=recorded))


def rewritten(source: bytes, *, recorded: bool = False) -> Rewritten:
    outcome = everywhere(source, recorded=recorded)
    assert isinstance(outcome, Rewritten), outcome
    return outcome


class Passing(types.ModuleType):
    """Probes that hand on their value and note that they were called."""

    def __init__(self) -> None:
        super().__init__("_tcstatic")
        self.calls: list[tuple[str, int]] = []

    def after(self, number: int, value: Any) -> Any:
        self.calls.append(("after", number))
        return value

    def on(self, number: int, value: Any) -> Any:
        self.calls.append(("on", number))
        return value

    def target(self, number: int, value: Any) -> Any:
        self.calls.append(("target", number))
        return value

    def loop(self, number: int, value: Any) -> Any:
        self.calls.append(("loop", number))
        return value


@contextlib.contextmanager
def probes(*, built_in: bool) -> Iterator[Passing]:
    """The probes as `run` installs them (a builtin), or as a copy finds them (a module)."""
    passing = Passing()
    if built_in:
        builtins._tcstatic = passing  # type: ignore[attr-defined]
    else:
        sys.modules["_tcstatic"] = passing
    try:
        yield passing
    finally:
        if built_in:
            del builtins._tcstatic  # type: ignore[attr-defined]
        else:
            del sys.modules["_tcstatic"]


@dataclass(frozen=True)
class Ran:
    """What a program did, as far as anyone outside can tell."""

    out: str
    warned: tuple[str, ...]
    error: str
    names: tuple[tuple[str, str], ...]


def ran(code: CodeType, path: Path = PATH) -> Ran:
    """Run a program as ``__main__``."""
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    out, error = io.StringIO(), ""
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        with contextlib.redirect_stdout(out), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                exec(code, module.__dict__)
            except BaseException as raised:
                trace = raised.__traceback__
                assert trace is not None
                raised.__traceback__ = trace.tb_next
                error = "".join(traceback.format_exception(raised))
    finally:
        sys.modules["__main__"] = before
    names = {
        name: type(value).__name__
        for name, value in vars(module).items()
        if name not in ("_tcstatic", "__builtins__")
    }
    warned = tuple(f"{w.filename}:{w.lineno}: {w.message}" for w in seen)
    return Ran(out.getvalue(), warned, error, tuple(sorted(names.items())))


def three_ways(source: bytes, path: Path = PATH) -> tuple[Ran, Ran, Ran, Passing]:
    """Run the original, the code that `run` would execute, and the text that a copy holds."""
    outcome = everywhere(source, path, recorded=True)
    text = outcome.text if isinstance(outcome, Rewritten) else decode(source).text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = ran(compile(source, str(path), "exec", dont_inherit=True), path)
        live = compile_instrumented(source, text, str(path))
        copied = compile(text.removeprefix(BOM), str(path), "exec", dont_inherit=True)
    with probes(built_in=True) as passing:
        as_run = ran(live, path)
    with probes(built_in=False):
        as_copy = ran(copied, path)
    return original, as_run, as_copy, passing
