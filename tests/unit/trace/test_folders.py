"""Who may record into the folder of a trace: one job, whoever begins at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.trace import claim_folder, open_trace, prepare_folder
from tcstatic.trace.manifest import job
from tests.unit.trace.making import record, training

# Finds the folder free, waits for a line, and then wants it.
BEGINS = """\
import sys
from pathlib import Path
from tcstatic.errors import InputError
from tcstatic.trace import claim_folder, prepare_folder

folder = Path(sys.argv[1])
prepare_folder(folder)
print("free", flush=True)
sys.stdin.readline()
try:
    claim_folder(folder)
    print("kept")
except InputError as error:
    print(error)
"""
LAUNCHED = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "1", "PMIX_NAMESPACE": "one"}
SRUN = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
NAMES = (*LAUNCHED, *MPI, *SRUN, "MASTER_PORT", "PMI_SIZE", "MPI_LOCALNRANKS", "LOCAL_SIZE")


def begin_at_once(folder: Path, *environments: Mapping[str, str]) -> list[str]:
    """What processes are told that all find the folder free before one of them keeps it."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BEGINS, str(folder)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "free\n"
    return [process.communicate("\n", timeout=300)[0].strip() for process in processes]


def test_of_runs_that_begin_at_once_one_records(tmp_path: Path) -> None:
    first, *others = begin_at_once(tmp_path / "t", {}, {}, {})
    assert first == "kept"
    refusal = (
        f"{tmp_path / 't'}: no trace can be recorded here, got a folder that another run records"
        " into; expected a new or an empty folder; name another"
    )
    assert others == [refusal, refusal]


def test_ranks_that_begin_at_once_record_together(tmp_path: Path) -> None:
    ranks = ({**LAUNCHED, "MASTER_PORT": "1", "RANK": str(rank)} for rank in range(2))
    assert begin_at_once(tmp_path / "t", *ranks) == ["kept", "kept"]


def test_of_launches_that_begin_at_once_one_records(tmp_path: Path) -> None:
    launches = ({**LAUNCHED, "MASTER_PORT": str(port)} for port in range(2))
    first, second = begin_at_once(tmp_path / "t", *launches)
    assert first == "kept"
    assert "another run records into" in second


def test_a_process_keeps_its_folder_and_shares_it_with_its_children(tmp_path: Path) -> None:
    claim_folder(tmp_path)
    mark = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    claim_folder(tmp_path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == mark
    (tmp_path / "rank-00000").mkdir()
    claim_folder(tmp_path, joins=True)
    assert {one.name for one in tmp_path.iterdir()} == {*mark, "rank-00000"}


def test_a_folder_that_is_kept_is_that_of_a_trace(tmp_path: Path) -> None:
    claim_folder(tmp_path / "t")
    record(tmp_path / "t", training(1))
    assert [run.facts.name for run in open_trace(tmp_path / "t").runs] == ["rank-00000"]
    with pytest.raises(InputError, match="holds 'rank-00000'"):
        prepare_folder(tmp_path / "t")


def test_where_files_have_one_name_only_one_job_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    claim_folder(tmp_path)
    claim_folder(tmp_path)
    for name, value in {**LAUNCHED, "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="another run records into"):
        claim_folder(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (LAUNCHED, {**LAUNCHED, "RANK": "1"}, True),
        (LAUNCHED, {**LAUNCHED, "MASTER_PORT": "2"}, False),
        (MPI, {**MPI, "OMPI_COMM_WORLD_RANK": "1"}, True),
        (MPI, {**MPI, "PMIX_NAMESPACE": "two"}, False),
        (SRUN, {**SRUN, "SLURM_PROCID": "1"}, True),
        (SRUN, {**SRUN, "SLURM_STEP_ID": "1"}, False),
        ({"WORLD_SIZE": "2", "LOCAL_SIZE": "1"}, {"WORLD_SIZE": "2", "LOCAL_SIZE": "1"}, True),
    ],
)
def test_a_launch_is_known_by_what_its_launcher_says(
    monkeypatch: pytest.MonkeyPatch,
    first: Mapping[str, str],
    second: Mapping[str, str],
    same: bool,
) -> None:
    found = []
    for told in (first, second):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        found.append(job())
    assert all(found)
    assert (found[0] == found[1]) == same


@pytest.mark.parametrize("told", [{}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "two"}])
def test_a_process_that_nobody_launched_is_of_no_launch(
    monkeypatch: pytest.MonkeyPatch, told: Mapping[str, str]
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert job() == ""
