"""Many runs from one process: torch is imported once, and every run is a fork of it.

As a program it is the server: one request a line on stdin, one answer a line on stdout, both json.
A fork becomes the script as python does, or `python -m tcstatic` by calling the command itself.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    " tcstatic.invariants.rules tcstatic.invariants.relations"
).split()
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
            [sys.executable, __file__],
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
    ) -> Ended:
        """Run ``python words...``, once for each rank of a launcher where `ranks` is above one."""
        self._count += 1
        outputs = [str(self.folder / f"{self._count}-{rank}") for rank in range(ranks)]
        request = {
            "words": words,
            "cwd": str(cwd),
            "environment": {**environment, **(launch(ranks) if ranks > 1 else {})},
            "outputs": outputs,
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
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_answer(**json.loads(line))), flush=True)


def _answer(
    words: Sequence[str], cwd: str, environment: Mapping[str, str], outputs: Sequence[str]
) -> list[int]:
    children = {}
    for rank, output in enumerate(outputs):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if len(outputs) > 1 else {}
        if (pid := os.fork()) == 0:
            _prepare(cwd, {**environment, **own}, output)
            _live(words)
        children[pid] = rank
    ends: dict[int, int] = {}
    until = time.monotonic() + SECONDS
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
        Observer(Path(environment["OBSERVED"]))


def _live(words: Sequence[str]) -> NoReturn:
    """Be ``python words...`` to the end, but for taking the interpreter itself down."""
    try:
        status = _command(words[2:]) if tuple(words[:2]) == TCSTATIC else _script(words)
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


@final
class Observer:
    """Keeps all that training makes, because most of it is gone when a script ends.

    Started first, it writes last: at exit, to a file of this process in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        import numpy
        import torch
        from torch.nn.modules import module
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.path = folder / str(os.getpid())
        self.losses: list[Any] = []
        self.tensors: list[Any] = []
        self.optimizers: dict[int, Any] = {}
        random.seed(0)
        numpy.random.seed(0)
        _followed(
            torch.Tensor, "backward", lambda loss, _: self.losses.append(loss.detach().clone())
        )
        for kind in (torch.Tensor, torch.nn.Parameter):
            _followed(kind, "__deepcopy__", lambda _, made: self.tensors.append(made))
        module.register_module_parameter_registration_hook(self.registered)
        module.register_module_buffer_registration_hook(self.registered)
        register_optimizer_step_post_hook(self.stepped)
        atexit.register(self.write)

    def registered(self, _owner: Any, _name: str, tensor: Any) -> None:
        self.tensors.append(tensor)

    def stepped(self, optimizer: Any, *_: Any) -> None:
        self.optimizers[id(optimizer)] = optimizer

    def write(self) -> None:
        import numpy
        import torch

        numbers = (random.getstate(), numpy.random.get_state(), torch.get_rng_state())
        states = [one.state_dict() for one in self.optimizers.values()]
        kept = {"loss": self.losses, "tensor": self.tensors, "optimizer": states, "rng": numbers}
        lines = (f"{name}: {shown(value)}" for name, value in _flat(kept, "final"))
        self.path.write_text("\n".join(lines), encoding="utf-8")


def _followed(kind: Any, name: str, tell: Callable[[Any, Any], object]) -> None:
    """Have `tell` called after a method, with its object and its result."""
    native = getattr(kind, name)

    @functools.wraps(native)
    def method(self: Any, *args: Any, **options: Any) -> Any:
        result = native(self, *args, **options)
        tell(self, result)
        return result

    setattr(kind, name, method)


def shown(value: Any) -> str:
    """A value, or of a tensor all that may be seen of it, its bits as a digest."""
    import torch

    if not isinstance(value, torch.Tensor):
        return hashlib.sha256(repr(value).encode()).hexdigest()
    about = f"{type(value).__name__} {value.dtype} {list(value.shape)} {value.requires_grad}"
    if value.layout == torch.strided and value.untyped_storage().nbytes() == 0:
        return f"{about} without storage"
    version = None if value.is_inference() else value._version
    flat = value.detach().to_dense().contiguous().reshape(-1).view(torch.uint8)
    gradient = "" if not value.is_leaf or value.grad is None else f" gradient {shown(value.grad)}"
    return f"{about} version {version} {hashlib.sha256(flat.numpy()).hexdigest()}{gradient}"


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name}.{number}")
    else:
        yield name, value


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
