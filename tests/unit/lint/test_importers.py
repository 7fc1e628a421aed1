"""Which files import others: names found by a cheap look, resolved against a project's files."""

from __future__ import annotations

import pytest

from tcstatic.lint.importers import importers, imports_of, stem, words_of


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (b"import a", ("a",)),
        (b"import a.b as c, d  # e", ("a.b", "d")),
        (b"    import a\n\tfrom b import c", ("a", "b", "b.c")),
        (b"from . import x", (".", ".x")),
        (b"from ..a.b import (\n  c,  # first\n  d as e,\n)\n", ("..a.b", "..a.b.c", "..a.b.d")),
        (b"from a import b, \\\n   c\n", ("a", "a.b", "a.c")),
        (b"from a import *", ("a",)),
        (b"m = importlib.import_module('a.b')", ("a.b",)),
        (b'__import__( "a")', ("a",)),
        (b"import a; import b", ("a", "b")),
        (b"important = 1\nfromage = 2", ()),
        (b"", ()),
    ],
)
def test_names_of_imports(source: bytes, names: tuple[str, ...]) -> None:
    assert imports_of(source) == names


def test_single_names() -> None:
    assert words_of(("..a.b", "c", ".")) == {"a", "b", "c"}
    assert [stem(one) for one in ("a/b.py", "a/b/__init__.py", "c.py")] == ["b", "b", "c"]


PROJECT = {
    "train.py": b"from lib.loop import fit\nimport models\n",
    "lib/__init__.py": b"",
    "lib/loop.py": b"from . import tools\nfrom .deep.steps import step\n",
    "lib/tools.py": b"",
    "lib/deep/__init__.py": b"",
    "lib/deep/steps.py": b"from ..tools import x\n",
    "models.py": b"import torch\n",
    "alone.py": b"import numpy\n",
    "src/pkg/__init__.py": b"",
    "src/pkg/a.py": b"",
    "tests/test_a.py": b"import pkg.a\n",
    "scripts/run.py": b"import beside\n",
    "scripts/beside.py": b"",
    "tests/tools.py": b"",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("models.py", {"train.py"}),
        ("lib/tools.py", {"lib/loop.py", "lib/deep/steps.py", "train.py"}),
        ("lib/deep/steps.py", {"lib/loop.py", "train.py"}),
        ("lib/deep/__init__.py", {"lib/loop.py", "train.py"}),
        ("lib/__init__.py", {"train.py", "lib/loop.py", "lib/deep/steps.py"}),
        ("alone.py", set()),
        ("train.py", set()),
        ("src/pkg/a.py", {"tests/test_a.py"}),
        ("src/pkg/__init__.py", {"tests/test_a.py"}),
        ("scripts/beside.py", {"scripts/run.py"}),
        ("tests/tools.py", set()),
    ],
)
def test_who_imports_it(given: str, expected: set[str]) -> None:
    imports = {path: imports_of(source) for path, source in PROJECT.items()}
    assert importers([given], imports) == expected


def test_cycles_end() -> None:
    imports = {"a.py": ("b",), "b.py": ("a",), "c.py": ("b",)}
    assert importers(["a.py"], imports) == {"b.py", "c.py"}
