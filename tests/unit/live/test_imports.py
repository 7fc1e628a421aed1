"""The post-import hook: called once, and gone."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcstatic.runtime.live.imports import when_imported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_it_is_called_after_the_import_and_once(folder: Path) -> None:
    (folder / "awaited.py").write_text("ready = []\nready.append(1)\n", encoding="utf-8")
    finders, seen = list(sys.meta_path), []
    when_imported("awaited", lambda: seen.append(list(sys.modules["awaited"].ready)))
    assert seen == []
    module = importlib.import_module("awaited")
    assert seen == [[1]]
    assert sys.meta_path == finders
    assert type(module.__loader__) is importlib.machinery.SourceFileLoader
    assert module.__spec__.loader is module.__loader__
    importlib.reload(module)
    assert seen == [[1]]


def test_a_loaded_module_is_told_at_once() -> None:
    seen: list[int] = []
    when_imported("sys", lambda: seen.append(1))
    assert seen == [1]


def test_the_module_itself_sees_its_own_loader(folder: Path) -> None:
    (folder / "awaited.py").write_text(
        "kinds = type(__loader__), type(__spec__.loader)\n", encoding="utf-8"
    )
    when_imported("awaited", lambda: None)
    kinds = importlib.import_module("awaited").kinds
    assert kinds == (importlib.machinery.SourceFileLoader,) * 2


def test_a_failing_import_looks_as_ever_and_may_be_tried_again(folder: Path) -> None:
    source = folder / "awaited.py"
    source.write_text("def f():\n    1 / 0\nf()\n", encoding="utf-8")

    def attempt() -> str:
        try:
            import awaited  # noqa: F401
        except ZeroDivisionError:
            return traceback.format_exc()
        return ""

    natively = attempt()
    seen: list[int] = []
    when_imported("awaited", lambda: seen.append(1))
    assert attempt() == natively != ""
    assert seen == []
    source.write_text("value = 'mended, and longer'\n", encoding="utf-8")
    assert attempt() == ""
    assert seen == [1]
