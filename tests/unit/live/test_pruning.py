"""What was used lately stays in the cache, whatever else happens there."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tcstatic.runtime.live.pruning import DAY, prune, used


def entry(cache: Path, name: str, *, days: float, size: int = 10) -> Path:
    path = cache / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def left(cache: Path) -> list[str]:
    return sorted(p.relative_to(cache).as_posix() for p in cache.rglob("*") if p.is_file())


def test_what_nobody_used_for_a_month_goes(tmp_path: Path) -> None:
    entry(tmp_path, "code/new.code", days=0)
    entry(tmp_path, "code/old.code", days=29)
    entry(tmp_path, "code/older.code", days=31)
    entry(tmp_path, "code/.killed.code.tmp", days=2)
    entry(tmp_path, "code/.being.written", days=0)
    entry(tmp_path, "plans/a.json", days=31)
    entry(tmp_path, "plans/a.absent", days=31)
    entry(tmp_path, "somebody-elses", days=99)
    prune(tmp_path)
    assert left(tmp_path) == [
        "code/.being.written",
        "code/new.code",
        "code/old.code",
        "pruned",
        "somebody-elses",
    ]


def test_the_oldest_goes_where_there_is_too_much(tmp_path: Path) -> None:
    for days in (0.0, 0.5, 2.0, 3.0, 4.0):
        entry(tmp_path, f"code/{days}.code", days=days, size=100)
    prune(tmp_path, most_bytes=300)
    assert left(tmp_path) == ["code/0.0.code", "code/0.5.code", "code/2.0.code", "pruned"]
    (tmp_path / "pruned").unlink()
    prune(tmp_path, most_bytes=0)
    assert left(tmp_path) == ["code/0.0.code", "code/0.5.code", "pruned"]


def test_once_a_day_is_enough(tmp_path: Path) -> None:
    stamp = entry(tmp_path, "pruned", days=0.5)
    old = entry(tmp_path, "code/old.code", days=99)
    prune(tmp_path)
    assert old.exists()
    entry(tmp_path, "pruned", days=1.5)
    prune(tmp_path)
    assert not old.exists() and time.time() - stamp.stat().st_mtime < DAY


def test_what_is_used_is_kept(tmp_path: Path) -> None:
    path = entry(tmp_path, "code/a.code", days=99)
    assert used(path) and not used(tmp_path / "code/b.code")
    prune(tmp_path)
    assert path.exists()


def test_many_may_prune_at_once(tmp_path: Path) -> None:
    for number in range(200):
        entry(tmp_path, f"code/{number}.code", days=0 if number % 2 else 99)

    def once(_: int) -> None:
        (tmp_path / "pruned").unlink(missing_ok=True)
        prune(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(16)))
    assert len(left(tmp_path / "code")) == 100


def test_a_cache_that_cannot_be_written_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune(tmp_path / "missing")
    path = entry(tmp_path, "code/a.code", days=99)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "unlink", refuse)
    prune(tmp_path)
    monkeypatch.setattr(os, "utime", refuse)
    assert used(path)
