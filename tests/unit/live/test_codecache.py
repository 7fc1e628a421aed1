"""Cached code: whole, of this interpreter, or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcstatic.runtime.live import codecache


def test_code_comes_back(tmp_path: Path) -> None:
    code = compile("def f():\n    return 1\n", "train.py", "exec")
    entry = codecache.store(code, tmp_path, "key")
    assert codecache.fetch(entry) == code
    assert os.listdir(tmp_path) == ["key.code"]


@pytest.mark.parametrize("where", [0, 20, 90, -1])
def test_damage_is_seen(tmp_path: Path, where: int) -> None:
    entry = codecache.store(compile("x = 1", "train.py", "exec"), tmp_path, "key")
    content = bytearray(Path(entry).read_bytes())
    content[where] ^= 1
    with pytest.raises(ValueError, match="cache"):
        codecache.unpack(bytes(content))


def test_code_of_another_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = codecache.pack(compile("x = 1", "train.py", "exec"))
    monkeypatch.setattr(codecache, "_tag", lambda: b"another")
    with pytest.raises(ValueError, match="another Python"):
        codecache.unpack(entry)


def test_the_cache_is_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TCSTATIC_CACHE", raising=False)
    assert codecache.cache_folder() == tmp_path / "home" / "tcstatic"
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "named"))
    assert codecache.cache_folder() == tmp_path / "named"
    assert codecache.whereabouts("a.code") == str(tmp_path / "named" / "a.code")


def test_an_unusable_cache_gives_one_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "file" / "cache"))
    folder = codecache.cache_folder()
    assert folder.is_dir()
    assert codecache.cache_folder() == folder
    folder.rmdir()
