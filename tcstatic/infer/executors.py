"""Where the work of learning is done: here, by processes of this machine, or by a cluster.

Every piece of work is a function of what it is given, and the answers are taken in their order: the
result is the same wherever it was made, and by however many.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from tcstatic.errors import InputError, input_problem

DASK: Final = "dask"
# Two processes take a second more to start than two cores save with 100,000 events, and save a
# second with 200,000 (measured: 2.9 and 3.7 s, 5.1 and 3.8 s).
PAYS_FROM: Final = 200_000
# How long a cluster may take to answer at first, in seconds.
_PATIENCE: Final = "10s"
_Given = TypeVar("_Given")
_Answer = TypeVar("_Answer")


def each(
    executor: Executor | None, work: Callable[[_Given], _Answer], given: Iterable[_Given]
) -> Iterator[_Answer]:
    """Yield what `work` gives for each, in order; in this process where there is no executor.

    Raises what `work` raises, and InputError where a worker has died.
    """
    if executor is None:
        yield from map(work, given)
        return
    try:
        with _without_interrupts():
            answers = executor.map(work, given)
        yield from answers
    except BrokenExecutor as error:
        raise InputError(
            input_problem(
                "a process that was learning has died (killed for its memory?)",
                got=type(error).__name__,
                cure="learn with --jobs 1, or from fewer traces at once",
            )
        ) from None


def check_address(address: str) -> None:
    """Raise InputError, in one line, where an address is not like dask://HOST:PORT."""
    try:
        parts = urlsplit(address)
        whole = (parts.scheme, bool(parts.hostname), bool(parts.port), parts.path)
    except ValueError:
        whole = ("", False, False, "")
    if whole != (DASK, True, True, ""):
        problem = input_problem("--executor", got=repr(address), expected="dask://HOST:PORT")
        raise InputError(problem)


@contextlib.contextmanager
def executor_for(jobs: int, address: str, events: Sequence[int]) -> Iterator[Executor | None]:
    """The executor for runs of so many events: a cluster if it has an address, else so many
    processes (0: as many as pay); None for this process. It is shut down at the end.

    Raises InputError where a cluster cannot be reached.
    """
    if address:
        with _cluster(address) as executor:
            yield executor
        return
    # a run is surveyed by one process: others help with other runs only
    pays = len(events) > 1 and sum(events) >= PAYS_FROM
    jobs = jobs or (min(_cores(), len(events)) if pays else 1)
    if jobs < 2:
        yield None
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # not forked: libraries that are loaded here have threads
    start = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, mp_context=start)
    try:
        yield executor
        executor.shutdown()
    except KeyboardInterrupt:
        # Nobody waits for what was begun.
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that never hear of Ctrl-C, which a terminal sends to all of them: each would
    print a traceback. One that comes meanwhile is heard here at the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    check_address(address)
    try:
        import distributed
    except ImportError:
        raise InputError(
            input_problem(
                "--executor dask needs the package distributed",
                cure="pip install 'tcstatic[dask]'",
            )
        ) from None
    target = f"tcp://{urlsplit(address).netloc}"
    try:
        client: Any = distributed.Client(target, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        got = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        problem = input_problem("no such cluster answers", where=address, got=got)
        raise InputError(problem) from None
    with client, client.get_executor(pure=False) as executor:
        yield executor
