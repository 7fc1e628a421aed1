"""Whoever does the work, the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.infer import infer
from tcstatic.infer.executors import PAYS_FROM, check_address, each, executor_for
from tcstatic.model import Event
from tests.unit.infer.runs import healthy
from tests.unit.trace.making import record, training


def dying(number: int) -> int:
    os._exit(number)


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        with ThreadPoolExecutor(3) as threads:
            yield threads
    else:
        with executor_for(2, "", []) as processes:
            assert processes is not None
            yield processes


def test_the_result_is_the_same(executor: Executor) -> None:
    runs = {
        "c": partial(healthy, 9),
        "a": partial(healthy, 14, model="Other"),
        "b": partial(healthy, 10, clip=True),
    }
    alone = infer(runs)
    assert len(alone.invariants) > 5
    assert infer(runs, executor=executor) == alone
    assert infer(dict(sorted(runs.items()))) == alone


def failing() -> list[Event]:
    raise InputError("no such run")


def test_what_a_worker_raises_is_raised(executor: Executor) -> None:
    with pytest.raises(InputError, match="no such run"):
        infer({"a": partial(healthy, 9), "b": failing}, executor=executor)


def test_a_worker_that_dies_is_told() -> None:
    with (
        executor_for(2, "", []) as executor,
        pytest.raises(InputError, match=r"has died .* learn with --jobs 1"),
    ):
        list(each(executor, dying, [3]))


@pytest.mark.parametrize(
    "jobs, events",
    [(0, [PAYS_FROM - 2, 1]), (0, [PAYS_FROM]), (0, []), (1, [PAYS_FROM, PAYS_FROM])],
)
def test_work_stays_in_this_process_where_more_do_not_pay(jobs: int, events: list[int]) -> None:
    with executor_for(jobs, "", events) as executor:
        assert executor is None


@pytest.mark.parametrize(
    "address",
    ["here:80", "dask://", "dask://host", "dask://:80", "ray://host:80", "dask://host:x", "dask:["],
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(InputError, match="expected dask://HOST:PORT"):
        check_address(address)


WAITING = """
import os, sys, time
from tcstatic.cli import main
from tcstatic.infer import executors, inferring

def forever(given):
    os.write(1, b"begun\\n")  # at once: both workers write
    time.sleep(60)

inferring._surveyed = forever
if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:], "--jobs", "2", "-o", "learnt.yaml"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_ctrl_c_ends_all_at_once_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    folders = [str(tmp_path / name) for name in ("a", "b")]
    for folder in folders:
        record(Path(folder), training(3))
    process = subprocess.Popen(
        [sys.executable, "waiting.py", *folders],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=50)
    assert (process.returncode, said.strip()) == (130, "")
    assert not (tmp_path / "learnt.yaml").exists()
