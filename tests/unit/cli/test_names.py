"""Folders with names that cannot be printed, or are no text: read, learnt from, and told of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcstatic.cli import main
from tests.unit.trace.making import record, training

NAMES = [b"a\x1b[31mb", b"two\nlines", b"\xff\xfe", "\u2028\x85".encode(), "\u202ex".encode()]


@pytest.mark.parametrize("name", NAMES)
def test_a_trace_of_any_name(
    name: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, learnt = tmp_path / os.fsdecode(name), str(tmp_path / "learnt.yaml")
    record(folder, training(20))
    for command in (
        ["infer", str(folder), "-o", learnt],
        ["check", str(folder), "--invariants", learnt],
        ["infer", str(folder), "--merge", learnt, "-o", learnt],
        ["trace", "show", str(folder)],
    ):
        assert main(command) == 0, capfd.readouterr().err
    out = capfd.readouterr().out
    assert "known already: " in out
    for line in out.splitlines():
        assert line.isprintable()


def test_an_empty_name_of_an_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "t", training(20))
    assert main(["infer", str(tmp_path / "t"), "-o", ""]) == 2
    assert "got ''; expected a path" in capfd.readouterr().err
