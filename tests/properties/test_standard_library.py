"""The standard library's own tests pass when it, and they, are rewritten in every place."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from tcstatic.model import Rewritten
from tcstatic.program.source import read_module
from tcstatic.rewrite import compile_instrumented, every_site, instrument

SCRIPT = Path(__file__).with_name("rewritten_unittest.py")

# Test module -> the packages and modules that it is about.
LIBRARY = {
    "test.test_argparse": ("argparse",),
    "test.test_bisect": ("bisect",),
    "test.test_configparser": ("configparser",),
    "test.test_contextlib": ("contextlib",),
    "test.test_copy": ("copy",),
    "test.test_csv": ("csv",),
    "test.test_dataclasses": ("dataclasses",),
    "test.test_difflib": ("difflib",),
    "test.test_enum": ("enum",),
    "test.test_fractions": ("fractions",),
    "test.test_functools": ("functools",),
    "test.test_graphlib": ("graphlib",),
    "test.test_heapq": ("heapq",),
    "test.test_json": ("json",),
    "test.test_pprint": ("pprint",),
    "test.test_shlex": ("shlex",),
    "test.test_string": ("string",),
    "test.test_textwrap": ("textwrap",),
    "test.test_urlparse": ("urllib.parse",),
}
# Tests of the language: here the tests themselves are what is rewritten.
LANGUAGE = [
    "test.test_asyncgen",
    "test.test_augassign",
    "test.test_coroutines",
    "test.test_decorators",
    "test.test_generators",
    "test.test_keywordonlyarg",
    "test.test_named_expressions",
    "test.test_patma",
    "test.test_scope",
    "test.test_super",
    "test.test_with",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("test.test_bisect") is None,
        reason="this Python comes without its own tests",
    ),
]


def sources(name: str) -> dict[str, Path]:
    """The files of a module, or of a package and all that lies in it, by module name."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    found = {name: Path(spec.origin)}
    for module in pkgutil.walk_packages(spec.submodule_search_locations or [], f"{name}."):
        if not module.name.endswith("__main__"):
            found |= sources(module.name)
    return found


def rewrite_all(names: list[str], out: Path) -> int:
    """Write the rewritten code of all modules; return how many probes there are."""
    codes, insertions = {}, 0
    for name in names:
        for module, path in sources(name).items():
            source = path.read_bytes()
            outcome = instrument(
                path, source, every_site(read_module(path, source, module), 1, recorded=True)
            )
            if isinstance(outcome, Rewritten):
                codes[module] = compile_instrumented(source, outcome.text, str(path))
                insertions += outcome.insertions
    with out.open("wb") as file:
        marshal.dump(codes, file)
    return insertions


def run_tests(code: Path, test: str, folder: Path) -> tuple[dict[str, list[str]], int]:
    """Run one test module in a process of its own; return outcomes and calls of probes."""
    result = folder / "result.json"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), str(code), str(result), test],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(result.read_text(encoding="utf-8"))
    return said["outcomes"], said["called"]


def compare(test: str, modules: list[str], folder: Path) -> str:
    nothing, code = folder / "nothing.bin", folder / "code.bin"
    rewrite_all([], nothing)
    insertions = rewrite_all(modules, code)
    original, _ = run_tests(nothing, test, folder)
    rewritten, called = run_tests(code, test, folder)
    assert len(original) > 3
    assert rewritten == original
    assert insertions and called
    return f"{test}: {len(original)} tests, {insertions} insertions, {called} calls of probes"


@pytest.mark.parametrize("test", LIBRARY)
def test_a_rewritten_library_passes_its_tests(
    test: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = compare(test, list(LIBRARY[test]), tmp_path)
    with capsys.disabled():
        print(f"\n{said}", end=" ")


@pytest.mark.parametrize("test", LANGUAGE)
def test_rewritten_tests_of_the_language_pass(
    test: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = compare(test, [test], tmp_path)
    with capsys.disabled():
        print(f"\n{said}", end=" ")
