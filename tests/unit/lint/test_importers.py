"""Which files import others: names found by a cheap look, resolved against a project's files."""

from __future__ import annotations

import pytest

from tcstatic.lint import analysing, index
from tcstatic.lint.importers import importers, imports_of, stem, words_of
from tests.unit.lint.projects import BAD, LOOP, MAIN, Folder


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (b"import a", ("a",)),
        (b"import a.b as c, d  # e", ("a", "a.b", "d")),
        (b"    import a\n\tfrom b import c", ("a", "b", "b.c")),
        (b"from . import x", (".", ".x")),
        (b"from ..a.b import (\n  c,  # first\n  d as e,\n)\n", ("..a.b", "..a.b.c", "..a.b.d")),
        (b"from a import b, \\\n   c\n", ("a", "a.b", "a.c")),
        (b"from a import *", ("a",)),
        (b"m = importlib.import_module('a.b')", ("a.b",)),
        (b'__import__( "a")', ("a",)),
        (b"import a; import b", ("a", "b")),
        (b"important = 1\nfromage = 2", ()),
        (
            b"# import all\n'import'; x = 1\nfrom a import import_b  # import\r\nimport c",
            ("a", "a.import_b", "c"),
        ),
        (
            b"from a import (\n    import_b,\n    import_c,\n); import d",
            ("a", "a.import_b", "a.import_c", "d"),
        ),
        (b"import a; x = 1; from b import c; __import__('d')", ("a", "b", "b.c", "d")),
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
    "pkg2/__init__.py": b"",
    "pkg2/b.py": b"",
    "tests/test_b.py": b"from pkg2.b import c\n",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("models.py", {"train.py"}),
        ("lib/tools.py", {"lib/loop.py", "lib/deep/steps.py", "train.py"}),
        ("lib/deep/steps.py", {"lib/loop.py", "train.py"}),
        ("lib/deep/__init__.py", set()),
        ("lib/__init__.py", {"lib/loop.py", "train.py"}),
        ("alone.py", set()),
        ("train.py", set()),
        ("src/pkg/a.py", {"tests/test_a.py"}),
        ("src/pkg/__init__.py", {"tests/test_a.py"}),
        ("pkg2/__init__.py", set()),
        ("scripts/beside.py", {"scripts/run.py"}),
        ("tests/tools.py", set()),
    ],
)
def test_who_imports_it(given: str, expected: set[str]) -> None:
    imports = {path: imports_of(source) for path, source in PROJECT.items()}
    assert set(importers([given], imports)) == expected


def test_cycles_end() -> None:
    imports = {"a.py": ("b",), "b.py": ("a",), "c.py": ("b",)}
    assert importers(["a.py"], imports) == ("b.py", "c.py")


def test_near_ones_come_first() -> None:
    imports = {
        "p/__init__.py": (".a", ".a.A"),
        "p/a.py": (),
        "p/b.py": ("p.a",),
        "p/tests/test_a.py": ("p.a",),
        "run.py": ("p",),
        "walk.py": ("p.c", "p.c.d"),
    }
    expected = ("p/__init__.py", "p/b.py", "p/tests/test_a.py", "run.py")
    assert importers(["p/a.py"], imports) == expected


CUT = "not looked at: "


def judged(folder: Folder) -> list[str]:
    """What is said of lib/loop.py alone: with the optimizer of main.py it is an error, where only
    the name of a parameter says that it is one, a warning."""
    found = folder.lint("--no-cache", "--output-format", "json", "lib/loop.py").report["findings"]
    return [f"{one['code']} {one['severity']}" for one in found]


def unseen(folder: Folder) -> list[str]:
    """What is said of files that were not looked at."""
    told = folder.lint("--no-cache", "--explain", "lib/loop.py").lines
    return [line.removeprefix(CUT) for line in told if line.startswith(CUT)]


def test_the_search_for_importers_is_bounded(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(lib__loop=LOOP, main=MAIN, a_a=BAD, a_b=BAD)
    assert (judged(folder), unseen(folder)) == (["TCS112 error"], [])
    monkeypatch.setattr(index, "IN_PROJECT", (2, 10**6))
    assert judged(folder) == ["TCS112 warning"]
    assert unseen(folder) == ["all but 2 of the files that may import the given ones"]
    assert CUT not in folder.lint("lib/loop.py").out
    monkeypatch.setattr(index, "IN_PROJECT", (100, 10))
    assert unseen(folder) == ["all but 1 of the files that may import the given ones"]
    monkeypatch.setattr(index, "IN_PROJECT", (100, 10**6))
    monkeypatch.setattr(analysing, "MOST_BYTES", 10)
    assert judged(folder) == ["TCS112 warning"]
    assert unseen(folder) == ["1 of 1 files that import the given ones"]


def test_a_guessed_root_leaves_other_projects_alone(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "pyproject.toml").unlink()
    folder.write(lib__loop=LOOP, other__deep__main=MAIN)
    assert judged(folder) == ["TCS112 error"]
    folder.write(other__deep__setup="")
    assert judged(folder) == ["TCS112 warning"]
    folder.write(main=MAIN)
    assert judged(folder) == ["TCS112 error"]


def test_far_files_come_last(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(lib__loop=LOOP, lib__main=MAIN, **{f"aa{number}": BAD for number in range(5)})
    monkeypatch.setattr(index, "IN_PROJECT", (3, 10**6))
    assert judged(folder) == ["TCS112 error"]
