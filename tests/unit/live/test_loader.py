"""The loader: planned bytes run as instrumented code, all else as Python would run it."""

from __future__ import annotations

import importlib
import importlib.machinery
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcstatic.runtime.live.loader import PlanFinder, PlannedCode
from tests.unit.live.standin import plan_for

SOURCE = 'value = "as written"\n\n\ndef where():\n    return __file__\n'
INSTRUMENTED = SOURCE.replace("as written", "instrumented")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def planned(folder: Path, said: list[str], name: str = "planned_one.py") -> PlannedCode:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(SOURCE, encoding="utf-8")
    planned = PlannedCode(plan_for(folder, {name: INSTRUMENTED}), said.append)
    sys.meta_path.insert(0, PlanFinder(planned))
    return planned


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("planned_one.py", "planned_one"),
        ("package/planned_two.py", "package.planned_two"),
        ("planned_package/__init__.py", "planned_package"),
    ],
)
def test_planned_modules_are_instrumented(
    folder: Path, said: list[str], name: str, module: str
) -> None:
    planned(folder, said, name)
    imported = importlib.import_module(module)
    assert imported.value == "instrumented"
    assert not said


def test_a_planned_module_looks_like_any_other(folder: Path, said: list[str]) -> None:
    planned(folder, said)
    module = importlib.import_module("planned_one")
    path = str(folder / "planned_one.py")
    assert module.__file__ == path == module.where() == module.where.__code__.co_filename
    assert module.__cached__ == importlib.util.cache_from_source(path)
    assert isinstance(module.__loader__, importlib.machinery.SourceFileLoader)
    assert module.__spec__.loader is module.__loader__
    assert module.__loader__.get_source("planned_one") == SOURCE == inspect.getsource(module)
    assert module.__loader__.get_data(path) == SOURCE.encode()


def test_a_changed_file_runs_as_it_is(folder: Path, said: list[str]) -> None:
    planned(folder, said)
    (folder / "planned_one.py").write_text('value = "changed"\n', encoding="utf-8")
    assert importlib.import_module("planned_one").value == "changed"
    assert len(said) == 1 and "planned_one.py: not watched, it was changed" in said[0]


@pytest.mark.parametrize("damage", [None, b"", b"tcstatic-code/1\nrubbish"])
def test_a_damaged_entry_is_not_used(folder: Path, said: list[str], damage: bytes | None) -> None:
    planned(folder, said)
    for entry in (folder / ".cache").iterdir():
        if damage is None:
            entry.unlink()
        else:
            entry.write_bytes(damage)
    assert importlib.import_module("planned_one").value == "as written"
    assert len(said) == 1 and "instrumented code cannot be used" in said[0]


def test_other_modules_of_the_same_name_stay_alone(folder: Path, said: list[str]) -> None:
    planned(folder, said)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "planned_one.py").write_text(SOURCE, encoding="utf-8")
    module = importlib.import_module("elsewhere.planned_one")
    assert module.value == "as written"
    assert type(module.__loader__) is importlib.machinery.SourceFileLoader


def test_finders_of_others_keep_their_order(folder: Path, said: list[str]) -> None:
    planned(folder, said)
    (folder / "front.py").write_text('value = "theirs"\n', encoding="utf-8")

    class Redirecting:
        def find_spec(self, name, path, target=None):
            if name == "planned_one":
                return importlib.util.spec_from_file_location(name, folder / "front.py")
            return None

    sys.meta_path.insert(1, Redirecting())
    assert importlib.import_module("planned_one").value == "theirs"


def test_it_can_be_reloaded(folder: Path, said: list[str]) -> None:
    planned(folder, said)
    module = importlib.import_module("planned_one")
    module.value = "touched"
    assert importlib.reload(module).value == "instrumented"
