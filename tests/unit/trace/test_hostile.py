"""Folders that hold no trace, a damaged one, or one that was made to do harm: one line each."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcstatic.errors import InputError
from tcstatic.model import Location, Site
from tcstatic.trace import open_trace
from tcstatic.trace.segments import SCHEMA
from tests.unit.trace.making import record, training

SEGMENT = "segment-000000.parquet"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """The only part of a trace that can be read."""
    record(tmp_path / "t", training(60))
    return tmp_path / "t" / "rank-00000"


def complaint(folder: Path) -> str:
    """The one line that reading all of a trace ends with."""
    with pytest.raises(InputError) as raised:
        list(open_trace(folder).events())
    text = str(raised.value)
    assert "\n" not in text
    assert str(folder) in text
    return text


def test_folders_that_hold_no_trace(tmp_path: Path) -> None:
    assert "no trace can be read here (No such file" in complaint(tmp_path / "nowhere")
    assert "no trace in this folder; expected a folder that" in complaint(tmp_path)
    (tmp_path / "file").touch()
    assert "not the folder of a trace" in complaint(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "damaged manifest"),
        (b"\xff\xfe", "damaged manifest"),
        (b"[" * 100_000, "damaged manifest"),
        (b"[]", "not a manifest of a trace, got None; expected tcstatic-trace/1"),
        (b'{"schema": "tcstatic-trace/2"}', "made by another version of tcstatic"),
        (b'{"schema": {"a": 1}}', "not a manifest of a trace"),
        (b'{"schema": "tcstatic-trace/1"}', "damaged manifest"),
        (pickle.dumps({"schema": 1}), "damaged manifest"),
    ],
)
def test_manifests(part: Path, content: bytes, said: str) -> None:
    (part / "manifest.json").write_bytes(content)
    assert said in complaint(part.parent)


@pytest.mark.parametrize("field", ["steps", "sites", "versions", "events", "dropped", "probes"])
@pytest.mark.parametrize("value", ["0", None, {"a": []}, [{}], [1]])
def test_fields_of_a_manifest(part: Path, field: str, value: Any) -> None:
    manifest = json.loads((part / "manifest.json").read_text())
    (part / "manifest.json").write_text(json.dumps({**manifest, field: value}))
    assert "damaged manifest" in complaint(part.parent)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("probes sampled", 10**400),
        ("probes sampled", float("nan")),
        ("probes disabled", {}),
        ("events", -1),
        ("events", 10**400),
        ("rank", -1),
        ("world_size", 1 << 70),
        ("in_scope", "TCS101"),
        ("environment", {"RANK": 0}),
        ("sites 0 location line", "12"),
        ("sites 0 location file", None),
        ("sites 0 arguments", {"training": False}),
        ("sites 0 callee", 3),
    ],
)
def test_what_a_manifest_never_says(part: Path, path: str, value: Any) -> None:
    manifest = json.loads((part / "manifest.json").read_text())
    manifest["sites"] = [asdict(Site(1, "after", "model.new", Location("train.py", 3)))]
    (part / "manifest.json").write_text(json.dumps(manifest))
    assert open_trace(part.parent).runs[0].facts.sites
    holder: Any = manifest
    *steps, last = path.split()
    for step in steps:
        holder = holder[int(step) if step.isdecimal() else step]
    holder[last] = value
    (part / "manifest.json").write_text(json.dumps(manifest))
    said = complaint(part.parent)
    assert "damaged manifest" in said and len(said) < 400


def _a_pipe(path: Path) -> None:
    os.mkfifo(path)


def _a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_a_pipe, _a_device])
def test_a_manifest_that_never_ends(part: Path, make: Callable[[Path], None]) -> None:
    (part / "manifest.json").unlink()
    make(part / "manifest.json")
    assert "no manifest can be read, got a pipe or a device" in complaint(part.parent)


def test_a_manifest_that_is_too_large(part: Path) -> None:
    os.truncate(part / "manifest.json", 1 << 40)
    assert "no manifest can be read, got larger than" in complaint(part.parent)


def test_truncated_at_any_place(part: Path) -> None:
    whole = (part / SEGMENT).read_bytes()
    for size in [0, 1, 4, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1]:
        (part / SEGMENT).write_bytes(whole[:size])
        said = complaint(part.parent)
        assert "no segment of a trace can be read here" in said


def test_a_byte_that_flipped_is_seen_or_harmless(part: Path) -> None:
    whole = (part / SEGMENT).read_bytes()
    events = list(open_trace(part.parent).events())
    seen = 0
    for place in random.Random(0).sample(range(len(whole)), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (part / SEGMENT).write_bytes(damaged)
        try:
            assert list(open_trace(part.parent).events()) == events
        except InputError as error:
            assert "\n" not in str(error)
            seen += 1
    assert seen > 100


def test_missing_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcstatic.trace.segments.MOST_ROWS", 50)
    record(tmp_path / "t", training(60))
    part = tmp_path / "t" / "rank-00000"
    last = sorted(part.glob("segment-*"))[-1]
    last.rename(tmp_path / "kept")
    assert "a part of the trace is missing, got 200 events; expected 240" in complaint(part.parent)
    (tmp_path / "kept").rename(last)
    (part / SEGMENT).unlink()
    assert "a segment of the trace is missing, got segment-000001" in complaint(part.parent)


def test_what_is_no_file(part: Path) -> None:
    (part / SEGMENT).unlink()
    os.mkfifo(part / SEGMENT)
    assert "not a file of a sensible size" in complaint(part.parent)


def test_another_table(part: Path) -> None:
    pq.write_table(pa.table({"kind": ["a"]}), part / SEGMENT)
    assert "not the columns of a segment" in complaint(part.parent)


def test_a_text_that_is_said_again_and_again_takes_the_room_of_one(part: Path) -> None:
    table = pq.read_table(part / SEGMENT)
    said = pa.DictionaryArray.from_arrays([0] * len(table), ["long" * 50_000])
    pq.write_table(table.set_column(0, "kind", said), part / SEGMENT, store_schema=False)
    assert (part / SEGMENT).stat().st_size < 20_000
    (run,) = open_trace(part.parent).runs
    kinds = [kind for names, _ in run.counted() for kind in names]
    assert len(kinds) == 240
    assert len(set(map(id, kinds))) == 1
    assert len({id(event.kind) for event in run.events()}) == 1


def test_groups_of_rows_that_no_writer_makes(part: Path) -> None:
    pq.write_table(pq.read_table(part / SEGMENT), part / SEGMENT, row_group_size=7)
    assert "not one group of rows" in complaint(part.parent)


def test_more_bytes_or_values_than_any_segment_has(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcstatic.trace.reader.MOST_VALUES", 100)
    assert "more values than a segment has" in complaint(part.parent)
    monkeypatch.setattr("tcstatic.trace.reader.MOST_BYTES", 1000)
    assert "not a file of a sensible size" in complaint(part.parent)


def test_too_many_rows(part: Path) -> None:
    empty = {
        field.name: pa.nulls(1 << 18, field.type)
        if pa.types.is_nested(field.type)
        else pa.array([0] * (1 << 18)).cast(field.type)
        for field in SCHEMA
    }
    pq.write_table(pa.table(empty, schema=SCHEMA), part / SEGMENT, store_schema=False)
    assert "more rows than a segment has" in complaint(part.parent)


def replaced(part: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the segment anew, changed by hand."""
    columns = pq.read_table(part / SEGMENT).to_pydict()
    change(columns)
    pq.write_table(pa.table(columns, schema=SCHEMA), part / SEGMENT, store_schema=False)


def test_numbers_that_name_nothing(part: Path) -> None:
    whole = (part / SEGMENT).read_bytes()
    for name in ("place", "subjects", "values", "context", "members"):
        for number in (-2, 10_000, 2**31 - 1, None):
            (part / SEGMENT).write_bytes(whole)
            replaced(part, lambda columns, n=name, v=number: columns[n].__setitem__(7, v))  # type: ignore[misc]
            assert "ValueError" in complaint(part.parent)


def test_rows_that_say_nothing(part: Path) -> None:
    whole = (part / SEGMENT).read_bytes()
    fields = [{"name": "a", "type": 99, "integer": 0, "real": 0.0, "text": "", "numbers": []}]
    for name, row in [
        ("new_maps", [fields]),
        ("new_maps", [[{**fields[0], "type": 8, "text": "[1]"}]]),
        ("new_maps", [[{**fields[0], "type": 8, "text": '{"__reduce__": [1]}'}]]),
        ("new_maps", [[{**fields[0], "type": 8, "text": "[" * 90_000}]]),
        ("new_maps", [[None]]),
        ("new_maps", None),
        ("new_members", [{"number": 1, "name": "a", "fields": 10_000}]),
        ("new_groups", [[10_000]]),
        ("new_places", [None]),
        ("integers", None),
        ("kind", None),
    ]:
        (part / SEGMENT).write_bytes(whole)
        replaced(part, lambda columns, n=name, v=row: columns[n].__setitem__(7, v))  # type: ignore[misc]
        assert "no segment of a trace can be read here" in complaint(part.parent)


def test_numbers_that_move_and_are_missing(part: Path) -> None:
    replaced(part, lambda columns: columns["reals"].__setitem__(1, []))
    assert "a number that moves is missing" in complaint(part.parent)
