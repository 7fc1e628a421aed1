"""Files are written whole, with the rights they should have, and nothing but files is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcstatic.caching import read_whole, write_whole


@pytest.mark.parametrize("private", [False, True])
def test_a_file_has_the_rights_of_any_other_or_is_the_users_alone(
    tmp_path: Path, private: bool
) -> None:
    other, path = tmp_path / "other", tmp_path / "file"
    other.touch()
    write_whole(path, b"content\r\n", private=private)
    assert path.read_bytes() == b"content\r\n"
    expected = 0o600 if private else other.stat().st_mode & 0o777
    assert path.stat().st_mode & 0o777 == expected


def test_what_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_only_files_are_read_and_only_so_much_of_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_whole(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_whole(tmp_path / "file", 4)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe or a device, and no file"):
            read_whole(path, 5)
    with pytest.raises(IsADirectoryError):
        read_whole(tmp_path, 5)
