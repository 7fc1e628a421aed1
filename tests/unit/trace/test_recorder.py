"""What a recorder writes, when, and what it does when it cannot."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tcstatic.caching import write_whole
from tcstatic.errors import InputError
from tcstatic.model import Dropped, ProbeCounts
from tcstatic.trace import Recorder, open_trace, prepare_folder, pressure
from tcstatic.trace.interning import Groups, Maps, Places
from tcstatic.trace.manifest import without_secrets
from tests.unit.trace.making import record, recording, training


def test_a_trace_can_be_read_while_it_is_recorded(tmp_path: Path) -> None:
    events = list(training(50))
    sink = Recorder(recording(tmp_path / "t"))
    for number in range(0, 200, 40):
        for event in events[number : number + 40]:
            sink.take(event)
        sink.flush(0)
        trace = open_trace(tmp_path / "t")
        assert list(trace.events()) == events[: number + 40]
        assert not trace.runs[0].facts.finished
    sink.end(0, 3, ProbeCounts(installed=4, events=200, sampled=0.5))
    facts = open_trace(tmp_path / "t").runs[0].facts
    assert (facts.finished, facts.exit_status, facts.rank) == (True, 3, 0)
    assert facts.probes == ProbeCounts(installed=4, events=200, sampled=0.5)
    assert facts.in_scope == ("TCS101",)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    record(tmp_path / "t", training(50), every=30)
    names = sorted(path.name for path in (tmp_path / "t" / "rank-00000").iterdir())
    assert names == ["manifest.json", "segment-000000.parquet"]


def test_a_run_without_events_is_told(tmp_path: Path) -> None:
    record(tmp_path / "t", [])
    (run,) = open_trace(tmp_path / "t").runs
    assert (run.count, list(run.events()), list(run.stretches())) == (0, [], [])


def test_a_process_that_has_not_trained_does_not_count_beside_others(tmp_path: Path) -> None:
    record(tmp_path / "t", list(training(3))[:3], rank=None)
    record(tmp_path / "t", training(3))
    assert [run.count for run in open_trace(tmp_path / "t").runs] == [12]


def test_a_lost_folder_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    sink = Recorder(recording(tmp_path / "t"))
    events = list(training(20))
    for event in events[:40]:
        sink.take(event)
    sink.flush(0)
    shutil.rmtree(tmp_path / "t")
    for event in events[40:]:
        sink.take(event)
    sink.flush(0)
    assert sink.problem.startswith("recording stopped (FileNotFoundError: No such file")
    for event in events:
        sink.take(event)
        sink.settled()
    sink.end(0, 0, ProbeCounts())
    assert sink._pending == []


def test_an_event_that_cannot_be_kept_ends_the_recording(tmp_path: Path) -> None:
    events = list(training(5))
    sink = Recorder(recording(tmp_path / "t"))
    for event in events:
        sink.take(event)
    sink.flush(0)
    sink.take(events[0]._replace(step="first"))  # type: ignore[arg-type]
    sink.end(0, 0, ProbeCounts())
    assert sink.problem.startswith("recording stopped (TypeError")
    facts = open_trace(tmp_path / "t").runs[0].facts
    assert (facts.finished, facts.problem) == (False, sink.problem)
    assert list(open_trace(tmp_path / "t").events()) == events


@pytest.mark.parametrize("before", [0, 40])
def test_a_disk_that_is_full_for_segments_leaves_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    def full(path: Path, content: bytes, *, private: bool = False) -> None:
        if path.suffix == ".parquet":
            raise OSError(28, "No space left on device")
        write_whole(path, content, private=private)

    events = list(training(20))
    sink = Recorder(recording(tmp_path / "t"))
    for event in events[:before]:
        sink.take(event)
    sink.flush(0)
    monkeypatch.setattr("tcstatic.trace.recorder.write_whole", full)
    for event in events[before:]:
        sink.take(event)
    sink.flush(0)
    sink.end(0, 0, ProbeCounts())
    (run,) = open_trace(tmp_path / "t").runs
    assert run.facts.problem == "recording stopped (OSError: No space left on device)"
    assert list(run.events()) == events[:before]


def test_a_forked_child_writes_nothing(tmp_path: Path) -> None:
    sink = Recorder(recording(tmp_path / "t"))
    for event in training(5):
        sink.take(event)
    sink.abandon()
    sink.flush(0)
    sink.end(0, 0, ProbeCounts())
    assert not (tmp_path / "t").exists()


def test_under_pressure_a_whole_kind_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recording takes all of the time here; each write gives up the most frequent kind."""
    monkeypatch.setattr(pressure, "SHORTEST_SECONDS", 0.0)
    monkeypatch.setattr(pressure, "SHARE", 0.001)
    ordinary = list(training(50))
    calls = [event._replace(kind="call") for event in ordinary]
    sink = Recorder(recording(tmp_path / "t"))
    for events in (calls, [*calls, *ordinary[:8]], [*calls, *ordinary[8:]]):
        sink.take_all(events)
        if events[-1] is not ordinary[-1]:
            sink.flush(0)
    sink.end(0, 0, ProbeCounts())
    assert sink.problem == ""
    (run,) = open_trace(tmp_path / "t").runs
    assert run.facts.dropped == (Dropped("call", 200, 408),)
    assert list(run.events()) == [*calls, *calls, *ordinary]


def test_what_a_segment_holds_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcstatic.trace.segments.MOST_NAMED", 50)
    events = [event._replace(values={"name": f"{event.sequence}"}) for event in training(100)]
    record(tmp_path / "t", events)
    trace = open_trace(tmp_path / "t")
    assert len(trace.runs[0].segments) > 5
    assert list(trace.events()) == events


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("run train.py --lr 0.1", "run train.py --lr 0.1"),
        ("run train.py --api-key abc", "run train.py --api-key '***'"),
        ("run train.py --token=abc --x", "run train.py '--token=***' --x"),
        ("run train.py WANDB_API_KEY=1", "run train.py 'WANDB_API_KEY=***'"),
        ("run train.py hf_abcdefghijkl", "run train.py '***'"),
        ("run t.py https://me:pw@host/x", "run t.py 'https***host/x'"),
        ("run t.py 'unbalanced", "***"),
    ],
)
def test_secrets_are_not_kept(command: str, shown: str) -> None:
    assert without_secrets(command) == shown


def test_of_the_environment_only_a_list_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "very-secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    record(tmp_path / "t", training(1))
    text = (tmp_path / "t" / "rank-00000" / "manifest.json").read_text()
    assert "very-secret" not in text
    assert json.loads(text)["environment"]["OMP_NUM_THREADS"] == "1"


def test_a_folder_that_holds_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_folder(tmp_path / "new" / "folder")
    (tmp_path / "empty").mkdir()
    prepare_folder(tmp_path / "empty")
    record(tmp_path / "old", training(1))
    with pytest.raises(InputError, match="holds 'rank-00000'; expected a new or an empty folder"):
        prepare_folder(tmp_path / "old")
    prepare_folder(tmp_path / "old", joins=True)
    (tmp_path / "old" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds 'notes\.txt'"):
        prepare_folder(tmp_path / "old", joins=True)
    with pytest.raises(InputError, match="no trace can be recorded here"):
        prepare_folder(tmp_path / "old" / "notes.txt")


def test_ranks_of_one_launcher_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    record(tmp_path / "t", training(1))
    prepare_folder(tmp_path / "t")
    (tmp_path / "t" / "rank-00001").mkdir()
    prepare_folder(tmp_path / "t")
    monkeypatch.setenv("MASTER_PORT", "2")
    with pytest.raises(InputError, match="holds 'rank-00000'"):
        prepare_folder(tmp_path / "t")


@pytest.mark.parametrize("interned", [Maps, Places, Groups])
def test_ctrl_c_in_the_midst_of_an_event_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interned: type
) -> None:
    events = list(training(30))
    sink = Recorder(recording(tmp_path / "t"))
    intern, calls = interned.intern, []

    def interrupted(self: object, *arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 17:
            signal.raise_signal(signal.SIGINT)
        return intern(self, *arguments)

    monkeypatch.setattr(interned, "intern", interrupted)
    for event in events:
        sink.take(event)
    with pytest.raises(KeyboardInterrupt):
        sink.flush(0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    sink.end(0, 130, ProbeCounts())
    assert (sink.problem, list(open_trace(tmp_path / "t").events())) == ("", events)


def test_what_a_users_handler_raises_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: object) -> None:
        raise TimeoutError("the user's own")

    before = signal.signal(signal.SIGUSR1, give_up)
    drain = Recorder._drain
    monkeypatch.setattr(
        Recorder, "_drain", lambda sink: (signal.raise_signal(signal.SIGUSR1), drain(sink))
    )
    sink = Recorder(recording(tmp_path / "t"))
    events = list(training(5))
    try:
        for event in events:
            sink.take(event)
        with pytest.raises(TimeoutError, match="the user's own"):
            sink.flush(0)
        assert signal.getsignal(signal.SIGUSR1) is give_up
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (sink.problem, list(open_trace(tmp_path / "t").events())) == ("", events)
