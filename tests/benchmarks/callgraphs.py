"""``python -m tests.benchmarks.callgraphs FOLDER``: how good and how fast the call graph is.

Recall: of the calls inside a project that `sys.setprofile` sees while its code runs, the share that
is in the graph. FOLDER holds unpacked source distributions, whose tests are run; without it only
`fixtures/` are. A call counts by the conventions of `tcstatic.program.callgraph`: frames of
comprehensions and class bodies stand for what encloses them, a generator that is resumed is not
called again, and frames of generated code (dataclasses) are passed over. Calls of generators and
coroutines are left out: the profiler does not see who makes one, only who resumes it first.

Speed: ``python -m tests.benchmarks.callgraphs --time PACKAGE`` builds the graph of a folder.
"""

from __future__ import annotations

import dis
import inspect
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcstatic.program.callgraph import CallGraph

REPO = Path(__file__).resolve().parents[2]
INLINE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
MADE = dis.opmap["RETURN_GENERATOR"]
RESUMED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
SECONDS = int(os.environ.get("TCSTATIC_SECONDS", "300"))
"""How long the tests of one package run; what was called until then counts."""
SHOWN = 12
LEAST_RECALL, MOST_SECONDS, MOST_MEGABYTES = 0.95, 60.0, 2048.0
"""Bounds of each package, and of all together."""

Place = tuple[str, int, str]
"""File, first line and qualified name of a code object."""


class Recorder:
    """Keeps caller and callee of every call between files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder) + os.sep
        self.calls: set[tuple[CodeType, CodeType]] = set()
        self._own: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if not self._is_own(code) or (code.co_flags & 0x2A0 and _is_resumed(frame)):
            return
        back = frame.f_back
        while back is not None and back.f_code.co_filename.startswith("<string>"):
            back = back.f_back
        if back is not None and self._is_own(back.f_code):
            self.calls.add((back.f_code, code))

    def _is_own(self, code: CodeType) -> bool:
        known = self._own.get(code)
        if known is None:
            name = os.path.abspath(code.co_filename)
            inside = name.startswith(self.folder) and code.co_filename[0] != "<"
            known = self._own[code] = inside
        return known

    def write(self, path: Path) -> None:
        """Write the calls, one by one."""
        found = sorted({(_place(a), _place(b)) for a, b in self.calls if b.co_name != "<module>"})
        path.write_text(json.dumps(found), encoding="utf-8")


def _is_resumed(frame: FrameType) -> bool:
    """Tell whether a generator goes on: its first instructions are behind it."""
    code = frame.f_code.co_code
    made = next((i for i in range(0, len(code), 2) if code[i] == MADE), 0)
    return frame.f_lasti > made + 4


def _place(code: CodeType) -> Place:
    return (os.path.abspath(code.co_filename), code.co_firstlineno, code.co_qualname)


def record(folder: Path, output: Path, command: list[str]) -> None:
    """Run a script, or ``-m module``, with its calls recorded; the child's side of `observed`."""
    recorder = Recorder(folder)
    sys.argv = command
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(SECONDS)
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            sys.path[0] = os.getcwd()
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(command[0]).resolve().parent)
            runpy.run_path(command[0], run_name="__main__")
    except (SystemExit, KeyboardInterrupt):
        pass
    finally:
        signal.alarm(0)
        sys.setprofile(None)
        recorder.write(output)


def observed(folder: Path, command: list[str], cwd: Path, paths: list[Path]) -> list[Any]:
    """Return the calls that a run in another process makes inside `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "calls.json")
        search = os.pathsep.join(str(path) for path in paths)
        subprocess.run(
            [sys.executable, __file__, "--record", str(folder), str(output), *command],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=2 * SECONDS,
            check=False,
        )
        return list(json.loads(output.read_text(encoding="utf-8"))) if output.exists() else []


def normal_name(place: Place, root: Path, graph: CallGraph, lambdas: dict[Any, str]) -> str | None:
    """Return the name in the graph that a code object stands for; None if it is not there."""
    path, line, qualified = place
    parts = Path(path).relative_to(root).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    module = ".".join(parts)
    names = [name for name in qualified.split(".") if name not in ("<locals>", *INLINE)]
    if names == ["<module>"]:
        return module
    if names and names[-1] == "<lambda>":
        return lambdas.get((path, line))
    while names:
        name = ".".join([module, *names])
        if name in graph.functions:
            return name
        if "<lambda>" not in names:
            names = names[:-1]
            continue
        return None
    return module


def recall(folder: Path, calls: list[Any]) -> tuple[int, int, list[tuple[str, str]]]:
    """Return how many of the calls the graph has, of how many, and those that it lacks."""
    from tcstatic.program.callgraph import build, program_of

    files, root = program_of([folder])
    graph = build(files, root)
    resumed = {place for path in files for place in _generators(path)}
    lambdas = {
        (str(found.path), found.line): found.name
        for found in graph.functions.values()
        if "<lambda" in found.name.rpartition(".")[2]
    }
    edges = set()
    for caller, callee in calls:
        if tuple(callee) in resumed:
            continue
        names = [normal_name(tuple(one), root, graph, lambdas) for one in (caller, callee)]
        inline = callee[2].rpartition(".")[2] in INLINE
        if not names[0] or not names[1] or inline or "<module>" in callee[2]:
            continue
        if names[1] in graph.functions and not _is_class(callee, names[1]):
            edges.add((names[0], names[1]))
    missed = sorted(edge for edge in edges if edge[1] not in graph.callees(edge[0]))
    return len(edges) - len(missed), len(edges), missed


def _generators(path: Path) -> set[Place]:
    """Return the generators and coroutines of a file."""
    try:
        found = [compile(path.read_bytes(), os.path.abspath(path), "exec")]
    except (SyntaxError, ValueError):
        return set()
    for code in found:
        found.extend(part for part in code.co_consts if isinstance(part, CodeType))
    return {_place(code) for code in found if code.co_flags & RESUMED}


def _is_class(callee: Place, name: str) -> bool:
    """A class body has run, which stands for what encloses it."""
    own = [part for part in callee[2].split(".") if part not in ("<locals>", *INLINE)]
    return not name.endswith(own[-1]) and "<lambda" not in name


def fixtures() -> None:
    """Print the recall over the scripts in ``fixtures/scripts``."""
    for folder in sorted((REPO / "fixtures/scripts").iterdir()):
        script = folder / "train.py"
        if script.is_file():
            _report(folder.name, folder, observed(folder, [str(script)], folder, []))


def packages(folder: Path) -> None:
    """Print the recall over unpacked source distributions, whose tests are run."""
    rows: list[tuple[int, int]] = []
    start = time.process_time()
    for package in sorted(path for path in folder.iterdir() if path.is_dir()):
        source = [path for path in (package / "src", package) if path.is_dir()]
        command = [
            "-m",
            "pytest",
            "-q",
            "--continue-on-collection-errors",
            "-p",
            "no:cacheprovider",
        ]
        command += ["-o", "addopts=", "-o", "filterwarnings=", "--import-mode=importlib"]
        tests = next(
            (n for n in ("tests", "test", "toolz", "testing") if (package / n).is_dir()), "."
        )
        calls = observed(package, [*command, tests], package, source)
        rows.append(_report(package.name, package, calls))
    seconds = (time.process_time() - start) / max(1, len(rows))
    _row("pooled", sum(row[0] for row in rows), sum(row[1] for row in rows), seconds)


def _report(name: str, folder: Path, calls: list[Any]) -> tuple[int, int]:
    """Print one row: what was found, and whether the bounds hold."""
    start = time.process_time()
    found, count, missed = recall(folder, calls)
    seconds = time.process_time() - start
    _row(name, found, count, seconds)
    if os.environ.get("TCSTATIC_MISSED"):
        for caller, callee in missed:
            print(f"    {caller} -> {callee}")
    return found, count


def _row(name: str, found: int, count: int, seconds: float) -> None:
    share = found / count if count else 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    broken = [
        text
        for text, holds in (
            (f"recall < {LEAST_RECALL}", not count or share >= LEAST_RECALL),
            (f"> {MOST_SECONDS:.0f} s", seconds <= MOST_SECONDS),
            (f"> {MOST_MEGABYTES:.0f} MB", peak <= MOST_MEGABYTES),
        )
        if not holds
    ]
    print(
        f"{name:28} {count:6} executed calls, recall {share:.3f} "
        f"({seconds:5.1f} s, peak so far {peak:.0f} MB)  {', '.join(broken) or 'within bounds'}",
        flush=True,
    )


def timing(folder: Path) -> None:
    """Print the time and memory of the graph of a folder."""
    from tcstatic.program.callgraph import build, program_of

    files, root = program_of([folder])
    start = time.process_time()
    graph = build(files, root)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = sum(len(path.read_bytes().splitlines()) for path in files)
    kinds = Counter("known" if graph.callees(name) else "leaf" for name in graph.functions)
    print(
        f"{folder.name}: {len(files)} files, {lines} lines, {seconds:.1f} s of CPU, {peak:.0f} MB, "
        f"{sum(len(c) for c in graph.as_dict().values())} edges, {dict(kinds)}"
    )


def main() -> None:
    """Print all figures."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--record"]:
        record(Path(arguments[1]), Path(arguments[2]), arguments[3:])
    elif arguments[:1] == ["--time"]:
        timing(Path(arguments[1]))
    else:
        fixtures()
        given = arguments[0] if arguments else os.environ.get("TCSTATIC_CALLGRAPH_CORPUS")
        if given:
            packages(Path(given))


if __name__ == "__main__":
    main()
