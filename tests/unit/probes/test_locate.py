"""The user's line: whose file it is, and which range of it."""

from __future__ import annotations

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tcstatic
from tcstatic.runtime.probes.locate import Locator

FOLDER = os.path.dirname(__file__)


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("train.py", True),
        ("parts/data.py", True),
        ("venv/lib/site-packages/torch/optim.py", False),
        ("lib/dist-packages/x.py", False),
        ("_tcstatic.py", False),
        ("../other.py", False),
        ("../project-two/x.py", False),
    ],
)
def test_whose_file(tmp_path: Path, name: str, mine: bool) -> None:
    root = tmp_path / "project"
    root.mkdir()
    assert Locator(str(root)).is_users(str(root / name)) is mine


def test_ours_and_files_of_no_disk_are_not_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not Locator(str(tmp_path)).is_users("<string>")
    assert Locator(str(tmp_path)).is_users("train.py")
    package = os.path.dirname(tcstatic.__file__)
    assert not Locator(os.path.dirname(package)).is_users(os.path.join(package, "pipeline.py"))


def test_a_root_behind_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    for root in (real, link):
        locator = Locator(str(root))
        for folder in (real, link):
            assert locator.is_users(str(folder / "train.py"))
        assert locator.relative(str(root / "parts" / "a.py")) == "parts/a.py"
    assert Locator(str(real)).relative(str(tmp_path / "x.py")) == str(tmp_path / "x.py")


def test_the_range_of_the_expression() -> None:
    locator = Locator(FOLDER)
    before, place = 0, locator.here()
    line = test_the_range_of_the_expression.__code__.co_firstlineno + 2
    assert place is not None
    assert (place.file, place.line, place.end_line) == ("test_locate.py", line, line)
    assert (place.column, place.end_column) == (24, 38)
    assert place.function == "test_the_range_of_the_expression"
    assert before == 0


def test_an_expression_of_several_lines() -> None:
    locator = Locator(FOLDER)
    place = max(
        [locator.here()],
        key=id,
    )
    assert place is not None
    assert (
        place.line
        == place.end_line
        == test_an_expression_of_several_lines.__code__.co_firstlineno + 3
    )


def test_the_nearest_frame_of_the_user() -> None:
    locator = Locator(FOLDER)
    library: dict[str, Any] = {"look": locator.here}
    code = "def outer(): return inner()\ndef inner(): return look()\n"
    exec(compile(code, os.path.join(os.sep, "lib", "other.py"), "exec"), library)
    place = library["outer"]()
    assert place.function == "test_the_nearest_frame_of_the_user"
    assert place.line == test_the_nearest_frame_of_the_user.__code__.co_firstlineno + 5


def test_nobody_is_there(tmp_path: Path) -> None:
    assert Locator(str(tmp_path)).here() is None
    assert Locator(str(tmp_path)).frame() is None


def test_a_thread_of_a_library_stands_on_the_line_of_the_main_thread() -> None:
    locator = Locator(FOLDER)
    me = threading.get_ident()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(locator.here).result() is None
        place = pool.submit(functools.partial(locator.here, thread=me)).result()
    assert place is not None
    assert place.function == ("test_a_thread_of_a_library_stands_on_the_line_of_the_main_thread")


def test_a_place_is_read_once() -> None:
    locator = Locator(FOLDER)
    places = [locator.here() for _ in range(3)]
    assert places[0] is places[1] is places[2]
