"""Many runs from one process: torch is imported once, and every run is a fork of it.

As a program it is the server: one request a line on stdin, one answer a line on stdout, both json.
A fork becomes the script as python does, or `python -m tcstatic` by calling the command itself.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import io
import json
import os
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, NoReturn, final

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SECONDS = 300  # a run takes about one; a rank that waits for ever must not stop the tests
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# What scripts and planning would otherwise import anew in every fork.
IMPORTED = (
    "numpy torch torch._dynamo torch.distributed.fsdp torch.distributed.elastic.multiprocessing"
    " torch.multiprocessing torch.nn.parallel torch.optim.lr_scheduler torch.optim.swa_utils"
    " torch.utils.data sklearn.datasets libcst libcst.metadata yaml tcstatic.rewrite"
    " tcstatic.invariants.rules tcstatic.invariants.relations libcst.native"
    " torch.profiler._cupti_monitor"
).split()
# Nor what watching imports once torch is there: a third of a second of each run.
WATCHING = ("tcstatic.runtime.probes", "tcstatic.program.paths")
TCSTATIC = ("-m", "tcstatic")
NOTHING: Mapping[str, str] = MappingProxyType({})
EXPECT = re.compile(r"# expect: (TCS\d+) step=(\d+)$")


@final
@dataclass(frozen=True, slots=True)
class Ended:
    """How a run has ended; of each rank its status and what it has printed."""

    status: tuple[int, ...]
    stdout: tuple[str, ...]
    stderr: tuple[str, ...]


@final
class Runs:
    """Starts runs in forks of one server; `environment` is that of a real process alike."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            **THREADS,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TCSTATIC_CACHE": str(folder / "cache"),
        }
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.golden.running"],
            cwd=FIXTURES.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def fork(
        self,
        *words: str,
        cwd: Path,
        ranks: int = 1,
        environment: Mapping[str, str] = NOTHING,
        seconds: int = SECONDS,
    ) -> Ended:
        """Run ``python words...``, once for each rank of a launcher where `ranks` is above one.

        What has not ended after `seconds` is killed.
        """
        self._count += 1
        outputs = [str(self.folder / f"{self._count}-{rank}") for rank in range(ranks)]
        request = {
            "words": words,
            "cwd": str(cwd),
            "environment": {**environment, **(launch(ranks) if ranks > 1 else {})},
            "outputs": outputs,
            "seconds": seconds,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(
            tuple(json.loads(self._server.stdout.readline())),
            tuple(Path(f"{output}.out").read_text(encoding="utf-8") for output in outputs),
            tuple(Path(f"{output}.err").read_text(encoding="utf-8") for output in outputs),
        )

    def process(self, *words: str, cwd: Path, environment: Mapping[str, str] = NOTHING) -> Ended:
        """Run ``python words...`` in a new interpreter."""
        ran = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**self.environment, **environment},
            timeout=SECONDS,
            check=False,
        )
        return Ended((ran.returncode,), (ran.stdout,), (ran.stderr,))

    def report(self, *words: str, cwd: Path, ranks: int = 1) -> Any:
        """The report of ``tcstatic run words...``, which must end as it should."""
        path = cwd / "report.json"
        path.unlink(missing_ok=True)
        options = ("run", "--quiet", "--report", str(path))
        ended = self.fork(*TCSTATIC, *options, *words, cwd=cwd, ranks=ranks)
        assert ended.status == (0,) * ranks, ended.stderr
        return whole(path)

    def close(self) -> None:
        """End the server."""
        self._server.communicate(timeout=SECONDS)


def whole(path: Path) -> Any:
    """The report at `path`, which must be about all of the run."""
    report = json.loads(path.read_text(encoding="utf-8"))
    gaps = (report["incomplete"], report["skipped"], report["probes"]["disabled"])
    assert (*gaps, report["exit_status"]) == ([], [], [], 0), (*gaps, report["exit_status"])
    return report


def findings(report: Any) -> list[tuple[str, str, str, int, int]]:
    """Severity, code, file, line and step of what a report has found."""
    names = ("severity", "code", "file", "line", "step")
    return [tuple(finding[name] for name in names) for finding in report["findings"]]


def expected(folder: Path, pattern: str = "*.py") -> list[tuple[str, str, str, int, int]]:
    """What the comments in the files of a folder say that a run of them must find."""
    return [
        ("error", found[1], path.name, number, int(found[2]))
        for path in sorted(folder.glob(pattern))
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
        if (found := EXPECT.search(line))
    ]


def free_port() -> str:
    """A port that nobody listens at."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def launch(ranks: int) -> dict[str, str]:
    """What torchrun tells each of its ranks alike."""
    port = free_port()
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "TORCHELASTIC_RUN_ID": f"golden-{port}",
    }


def torchrun() -> tuple[str, ...]:
    """The words that have torchrun start two ranks of what follows."""
    port = f"--master_port={free_port()}"
    return ("-m", "torch.distributed.run", "--nproc_per_node=2", port)


def serve() -> None:
    """Answer requests until stdin ends."""
    preload()
    for line in sys.stdin:
        request = json.loads(line)
        words = request.pop("words")
        print(json.dumps(forked(functools.partial(_python, words), **request)), flush=True)


def preload() -> None:
    """Import what every fork would import again."""
    for name in IMPORTED:
        importlib.import_module(name)
    for name in WATCHING:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(found.name)


def forked(
    work: Callable[[], int],
    *,
    cwd: str,
    environment: Mapping[str, str],
    outputs: Sequence[str],
    seconds: int = SECONDS,
) -> list[int]:
    """Do something in a fork for each of the `outputs`, which are ranks where there are several;
    return how each has ended. What has not ended after `seconds` is killed."""
    children = {}
    for rank, output in enumerate(outputs):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if len(outputs) > 1 else {}
        if (pid := os.fork()) == 0:
            _prepare(cwd, {**environment, **own}, output)
            _live(work)
        children[pid] = rank
    ends: dict[int, int] = {}
    until = time.monotonic() + seconds
    while len(ends) < len(children):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            ends[children[pid]] = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.005)
        if time.monotonic() > until:
            for pid in children:
                if children[pid] not in ends:
                    os.kill(pid, signal.SIGKILL)
    return [ends[rank] for rank in range(len(outputs))]


def _prepare(cwd: str, environment: Mapping[str, str], output: str) -> None:
    """Give a fork its own folder, environment and streams, as at the start of a process."""
    import multiprocessing.process

    os.chdir(cwd)
    multiprocessing.process.ORIGINAL_DIR = cwd
    os.environ.update(environment)
    new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = [(os.devnull, os.O_RDONLY), (f"{output}.out", new), (f"{output}.err", new)]
    for number, (name, flags) in enumerate(opened):
        os.dup2(os.open(name, flags), number)
    # The server reads its requests through the same object.
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    if "OBSERVED" in environment:
        from tests.golden.observing import Observer

        Observer(Path(environment["OBSERVED"]))


def _python(words: Sequence[str]) -> int:
    """Be ``python words...``."""
    return _command(words[2:]) if tuple(words[:2]) == TCSTATIC else _script(words)


def _live(work: Callable[[], int]) -> NoReturn:
    """Be a process that does this, to its end, but for taking the interpreter itself down."""
    try:
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        print(f"the server is wrong: {error!r}", file=sys.stderr)
        status = 99
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Taking torch down takes longer than most of the scripts.
    os._exit(status & 0xFF)


def _command(words: Sequence[str]) -> int:
    from tcstatic import pipeline
    from tcstatic.cli import main

    native = subprocess.run

    def run(command: Any, **how: Any) -> Any:
        """Plan in a fork; whatever else the program starts is none of ours."""
        subprocess.run = native
        plans = isinstance(command, list) and pipeline._CHILD in command
        return _planning(command, **how) if plans else native(command, **how)

    subprocess.run = run  # type: ignore[assignment]
    sys.path[0] = os.path.dirname(sys.executable)
    sys.argv = ["tcstatic", *words]
    return main(words)


def _planning(command: Sequence[str], *, input: str, **_: Any) -> SimpleNamespace:
    """Stands for the short-lived process that plans: a fork with libcst in it."""
    from tcstatic import pipeline

    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answered:
        asked.write(input.encode())
        asked.seek(0)
        if (pid := os.fork()) == 0:
            os.dup2(asked.fileno(), 0)
            os.dup2(answered.fileno(), 1)
            pipeline.child()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answered.seek(0)
        return SimpleNamespace(stdout=answered.read().decode(), stderr="", returncode=status)


def _script(words: Sequence[str]) -> int:
    path = os.path.abspath(words[0])
    main = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.argv = list(words)
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    try:
        exec(compile(Path(path).read_bytes(), path, "exec"), main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        assert error.__traceback__ is not None
        error.__traceback__ = error.__traceback__.tb_next
        sys.last_type, sys.last_value = type(error), error
        sys.last_traceback = error.__traceback__
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


@functools.cache
def runs() -> Runs:
    """The runs of this test process; the server starts with the first and ends with the tests."""
    folder = tempfile.TemporaryDirectory(prefix="golden-")
    started = Runs(Path(folder.name))

    def end() -> None:
        started.close()
        folder.cleanup()

    atexit.register(end)
    return started


if __name__ == "__main__":
    serve()
