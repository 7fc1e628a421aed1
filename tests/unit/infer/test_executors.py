"""Whoever does the work, the result is the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

import pytest

from tcstatic.errors import InputError
from tcstatic.infer import infer
from tcstatic.infer.executors import PAYS_FROM, check_address, each, executor_for
from tcstatic.model import Event
from tests.unit.infer.runs import healthy


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
