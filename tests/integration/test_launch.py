"""A program under `runtime.live` is the program under ``python``: output, status, tracebacks.

No test here needs torch: the monitors are stand-ins, the processes are real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcstatic.model import RunOptions
from tcstatic.runtime.live.planfile import dump
from tests.unit.live.standin import ERROR, ERROR_AT_END, OUR_BUG, WARNING, plan_for

Ended = subprocess.CompletedProcess[str]
# When a process hangs, on the slowest of machines.
SECONDS = 300


class Launcher:
    """Writes files into a folder and runs them, with us or without."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.folder = folder
        self.plan = folder.parent / "plan.json"
        self.environment = {**os.environ, "PYTHONPATH": str(repo), "TMPDIR": str(folder.parent)}
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / (name.replace("__in__", "/").replace("_dot_", ".") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def command(
        self, *words: str, probed: dict[str, str] | None = None, **options: Any
    ) -> list[str]:
        chosen = replace(RunOptions(quiet=True), **options)
        plan = plan_for(self.folder, probed or {}, chosen)
        self.plan.write_text(dump(plan), encoding="utf-8")
        return [sys.executable, "-m", "tests.unit.live.standin", str(self.plan), *words]

    def natively(self, *words: str, **how: Any) -> Ended:
        return self._run([sys.executable, *words], **how)

    def watched(
        self, *words: str, probed: dict[str, str] | None = None, stdin: str = "", **options: Any
    ) -> Ended:
        return self._run(self.command(*words, probed=probed, **options), stdin=stdin)

    def start(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.environment, **environment},
        )

    def signalled(self, command: list[str], signum: int) -> Ended:
        """Send a signal when the first line was printed; standard input stays open till the end."""
        with self.start(command) as started:
            try:
                assert started.stdout is not None and started.stderr is not None
                assert started.stdout.readline() == "ready\n"
                started.send_signal(signum)
                status = started.wait(SECONDS)
                return Ended(command, status, started.stdout.read(), started.stderr.read())
            finally:
                started.kill()

    def _run(self, command: list[str], stdin: str = "") -> Ended:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture
def launcher(tmp_path: Path, repo: Path) -> Launcher:
    folder = tmp_path / "project"
    folder.mkdir()
    return Launcher(folder, repo)


@pytest.fixture
def same(launcher: Launcher) -> Callable[..., Ended]:
    """Run a script both ways, compare all that can be seen from outside, return one."""

    def compare(script: str, *words: str, stdin: str = "") -> Ended:
        launcher.write(train=script)
        words = words or ("train.py",)
        native = launcher.natively(*words, stdin=stdin)
        watched = launcher.watched(*words, stdin=stdin)
        assert watched.stdout == native.stdout
        assert watched.stderr == native.stderr
        assert watched.returncode == native.returncode
        return watched

    return compare


SELF_PORTRAIT = """
import sys, __main__
mine = {k: v for k, v in vars(__main__).items() if k not in ("sys", "__main__")}
print([(k, v if isinstance(v, str) else type(v).__name__) for k, v in mine.items()])
print(__main__ is sys.modules["__main__"], __main__.__dict__ is globals(), dir())
print(sys.argv, sys.path[0], sys.flags, __builtins__.__name__)
if __spec__ is not None:
    print(__spec__.name, __spec__.origin, __spec__.parent)
import helper
print(helper.__name__, helper.__file__)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("train.py", "--lr", "0.1", "-h"),
        ("./train.py",),
        ("../project/./train.py", "-m"),
        ("link.py", "x"),
        ("-m", "train", "a", "-b"),
    ],
)
def test_the_program_sees_itself_as_ever(
    launcher: Launcher, same: Callable[..., Ended], words: tuple[str, ...]
) -> None:
    launcher.write(helper="")
    (launcher.folder.parent / "real").mkdir()
    (launcher.folder.parent / "real" / "linked.py").write_text(SELF_PORTRAIT, encoding="utf-8")
    (launcher.folder.parent / "real" / "helper.py").write_text("", encoding="utf-8")
    (launcher.folder / "link.py").symlink_to("../real/linked.py")
    assert same(SELF_PORTRAIT, *words).returncode == 0


def test_packages_run_as_modules(launcher: Launcher, same: Callable[..., Ended]) -> None:
    launcher.write(
        pkg__in____init__="print('package', __name__)",
        pkg__in____main__="from . import part\nprint(__package__, __spec__.name, part.name)",
        pkg__in__part="import sys\nname = __name__, sys.argv",
    )
    assert same("", "-m", "pkg", "x").returncode == 0
    assert same("", "-m", "pkg.part").returncode == 0


ENDINGS = {
    "falls off": "print('done')",
    "exit": "import sys; sys.exit()",
    "exit 0": "import sys; sys.exit(0)",
    "exit 3": "import sys; sys.exit(3)",
    "exit -1": "import sys; sys.exit(-1)",
    "exit 256": "import sys; sys.exit(256)",
    "exit True": "import sys; sys.exit(True)",
    "exit text": "import sys; sys.exit('went wrong')",
    "exit list": "raise SystemExit([1, 2])",
    "exit of a subclass": "class Mine(SystemExit): pass\nraise Mine(5)",
    "error": "def f(x):\n    return 1 + x\nf(0) + f('a')\n",
    "chained": (
        "def f():\n    try:\n        {}['a']\n    except KeyError as e:\n"
        "        raise ValueError('no') from e\nf()\n"
    ),
    "in a context": "try:\n    1 / 0\nfinally:\n    undefined_name\n",
    "group": "raise ExceptionGroup('both', [ValueError(1), TypeError(2)])",
    "notes": "e = ValueError('x'); e.add_note('a note'); raise e",
    "recursion": "def f(): f()\nf()\n",
    "deep recursion": "def f(n): return n and 1 + f(n - 1)\nprint(f(995))\n",
    "syntax": "x = (1,\nfor y in x: pass\n",
    "imported syntax error": "import broken",
    "failing import": "import failing",
    "no module": "import no_such_module_at_all",
    "interrupt": "import atexit; atexit.register(print, 'bye')\nraise KeyboardInterrupt",
    "interrupt in a function": "def f():\n    raise KeyboardInterrupt('now')\nf()\n",
    "killed by itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "killed harder": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "import os; print('lost'); os._exit(4)",
    "closed stdout": "import sys; sys.stdout.close()",
    "closed stderr": "import sys; sys.stderr.close()",
    "base exception": "class Odd(BaseException): pass\nraise Odd('out')",
    "generator exit": "raise GeneratorExit",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_it_ends_as_ever(launcher: Launcher, same: Callable[..., Ended], name: str) -> None:
    launcher.write(broken="def f(:\n", failing="def f():\n    raise RuntimeError('at import')\nf()")
    same(ENDINGS[name])


@pytest.mark.parametrize("name", ["exit 3", "exit text", "error", "interrupt", "failing import"])
def test_a_module_ends_as_ever(launcher: Launcher, same: Callable[..., Ended], name: str) -> None:
    launcher.write(failing="def f():\n    raise RuntimeError('at import')\nf()")
    same(ENDINGS[name], "-m", "train")


def test_a_missing_module_is_told_as_ever(same: Callable[..., Ended]) -> None:
    assert same("", "-m", "no_such_module").returncode == 1


HOOKS = {
    "prints": "sys.excepthook = lambda kind, error, tb: print('hook', kind, error, depth(tb))",
    "exits": "sys.excepthook = lambda *_: sys.exit(9)",
    "raises": "def hook(*_):\n    raise OSError('in the hook')\nsys.excepthook = hook",
    "is gone": "del sys.excepthook",
    "uses exc_info": "sys.excepthook = lambda *_: print(sys.exc_info(), sys.last_value)",
    "original": "h = sys.excepthook\nsys.excepthook = lambda *a: (print('mine'), h(*a))",
}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("error", ["1 / 0", "raise KeyboardInterrupt"])
def test_the_users_excepthook_is_asked(same: Callable[..., Ended], name: str, error: str) -> None:
    depth = "def depth(tb):\n    return 0 if tb is None else 1 + depth(tb.tb_next)\n"
    last = "print(repr(sys.last_value), depth(sys.last_traceback))"
    last = f"import atexit\natexit.register(lambda: {last})"
    same(f"import sys\n{depth}{last}\n{HOOKS[name]}\n{error}\n")


RUNNING = {
    "threads are joined": """
import atexit, threading
atexit.register(print, "at exit")
def work():
    threading.main_thread().join()
    print("thread", threading.main_thread().is_alive())
threading.Thread(target=work).start()
print("main is done")
""",
    "pools": """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
print(pool.submit(lambda: 5).result())
""",
    "a thread that fails": """
import threading
t = threading.Thread(target=lambda: 1 / 0, name="worker")
t.start(); t.join()
""",
    "order at exit": """
import atexit, weakref
class A:
    def __del__(self): print("deleted", __name__)
a = A()
b = A(); b.b = b
atexit.register(print, "first"); atexit.register(print, "second")
weakref.finalize(a, print, "finalized")
""",
    "stdin": """
import sys
print(input("name? "), sys.stdin.read())
""",
    "pickling": """
import copy, pickle
class A:
    def __init__(self): self.x = 1
    def __eq__(self, other): return self.x == other.x
print(pickle.loads(pickle.dumps(A())) == A() == copy.deepcopy(A()), pickle.dumps(A()))
""",
    "signals": """
import signal
print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP))
print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM) in (None, signal.SIG_DFL))
print(signal.signal(signal.SIGTERM, lambda *_: print("mine")))
signal.raise_signal(signal.SIGTERM)
print(signal.signal(signal.SIGTERM, signal.SIG_DFL) is not None, signal.set_wakeup_fd(-1))
""",
    "forking": """
import os
pid = os.fork()
if pid == 0:
    print("child", flush=True)
    raise SystemExit(3)
print(os.waitpid(pid, 0)[1])
""",
    "multiprocessing fork": """
import multiprocessing as mp
def work(x): return x * 2
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool: print(pool.map(work, range(4)))
""",
    "multiprocessing spawn": """
import multiprocessing as mp, sys
class Payload:
    pass
def work(x): return x * 2, __name__, sys.argv, isinstance(Payload(), Payload)
if __name__ == "__main__":
    with mp.get_context("spawn").Pool(1) as pool: print(pool.map(work, range(2)))
    p = mp.get_context("spawn").Process(target=sys.exit, args=(7,)); p.start(); p.join()
    print(p.exitcode)
""",
    "asyncio": """
import asyncio
async def main():
    await asyncio.sleep(0)
    return 5
print(asyncio.run(main()))
""",
    "warnings": """
import warnings
def f(): warnings.warn("look out", stacklevel=2)
f()
warnings.warn("here")
""",
    "logging": "import logging; logging.basicConfig(); logging.warning('x'); logging.shutdown()",
    "inspect": """
import inspect
class A:
    def f(self): return 1
print(inspect.getsource(A), inspect.getfile(A), inspect.getmodule(A))
""",
    "names": "print(sorted(globals()), sorted(locals()), dir())",
    "annotations": "x: int = 1\nprint(__annotations__)",
    "doctest": "'''\n>>> 1 + 1\n2\n'''\nimport doctest; print(doctest.testmod())",
    "future": "from __future__ import annotations\nx: undefined = 1\nprint(__annotations__)",
    "chdir": "import os; os.chdir('/'); import helper; print(helper.name)",
    "meta path": "import helper, sys; print(type(helper.__loader__), helper.__spec__.origin)",
}


@pytest.mark.parametrize("name", RUNNING)
def test_it_runs_as_ever(launcher: Launcher, same: Callable[..., Ended], name: str) -> None:
    launcher.write(helper="name = __name__, __file__")
    same(RUNNING[name], stdin="Ada\nand more\n")


# -- what is ours ---------------------------------------------------------------------------------

TRAIN = """
import atexit, sys
atexit.register(print, "at exit")
try:
    print("begin")
    try:
        x = 1
        x = 2
    except Exception:
        print("swallowed")
    print("end")
finally:
    print("cleaned up")
"""


def probed(number: int, text: str = TRAIN) -> dict[str, str]:
    return {"train.py": text.replace("x = 1", f"x = _tcstatic.after({number}, 1)")}


def test_a_finding_is_told_once_at_once_and_summed_up(launcher: Launcher) -> None:
    launcher.write(train=TRAIN)
    ran = launcher.watched("train.py", probed=probed(ERROR), quiet=False, reports=("out.json",))
    assert ran.returncode == 0
    assert ran.stdout == launcher.natively("train.py").stdout
    assert ran.stderr.count("tcstatic: error TCS66 stand-in") == 1
    assert "tcstatic: 1 error: TCS66 train.py:1" in ran.stderr
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    assert report["exit_status"] == 0
    assert [finding["code"] for finding in report["findings"]] == ["TCS66"]
    assert report["ranks"] == [0] and report["incomplete"] == []


def test_quiet_is_quiet(launcher: Launcher) -> None:
    launcher.write(train=TRAIN)
    ran = launcher.watched("train.py", probed=probed(ERROR), reports=("out.json",))
    assert ran.stderr == ""
    assert "TCS66" in (launcher.folder / "out.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("number", "asked", "ending", "status"),
    [
        (ERROR, "warn", "", 0),
        (ERROR, "fail", "", 1),
        (ERROR_AT_END, "fail", "", 1),
        (WARNING, "fail", "", 0),
        (ERROR, "fail", "sys.exit(3)", 3),
        (ERROR, "fail", "sys.exit(None)", 1),
        (ERROR, "fail", "1 / 0", 1),
        (ERROR, "stop", "", 1),
        (WARNING, "stop", "", 0),
        (ERROR_AT_END, "stop", "", 1),
    ],
)
def test_the_exit_status_is_the_one_asked_for(
    launcher: Launcher, number: int, asked: str, ending: str, status: int
) -> None:
    text = TRAIN + ending + "\n"
    launcher.write(train=text)
    ran = launcher.watched("train.py", probed=probed(number, text), on_violation=asked)
    assert ran.returncode == status
    assert "at exit" in ran.stdout


def test_stop_lets_the_program_clean_up(launcher: Launcher) -> None:
    launcher.write(train=TRAIN)
    ran = launcher.watched("train.py", probed=probed(ERROR), on_violation="stop")
    assert ran.returncode == 1
    assert ran.stdout.splitlines() == ["begin", "cleaned up", "at exit"]
    assert ran.stderr == ""


def test_an_error_of_a_last_thread_still_counts(launcher: Launcher) -> None:
    text = """
import atexit, threading
atexit.register(print, "at exit")
def work():
    threading.main_thread().join()
    x = 1
    print("thread is done")
threading.Thread(target=work).start()
"""
    launcher.write(train=text)
    ran = launcher.watched(
        "train.py", probed=probed(ERROR, text), on_violation="fail", reports=("out.json",)
    )
    assert ran.returncode == 1
    assert ran.stdout.splitlines() == ["thread is done", "at exit"]
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    assert [finding["code"] for finding in report["findings"]] == ["TCS66"]


def test_our_own_failure_harms_nothing(launcher: Launcher) -> None:
    launcher.write(train=TRAIN)
    ran = launcher.watched("train.py", probed=probed(OUR_BUG), quiet=False, on_violation="fail")
    assert ran.returncode == 0
    assert ran.stdout == launcher.natively("train.py").stdout
    lines = [line for line in ran.stderr.splitlines() if "switched off" in line]
    assert lines == ["tcstatic: probe switched off: monitors (RuntimeError: the monitor fell over)"]


def test_the_report_lies_where_the_run_began(launcher: Launcher) -> None:
    text = "import os\nos.mkdir('deep'); os.chdir('deep')\nx = 1\n"
    launcher.write(train=text)
    (launcher.folder / "sub").mkdir()
    launcher.watched("train.py", probed=probed(ERROR, text), reports=("out.json", "sub/out.txt"))
    assert (launcher.folder / "out.json").exists()
    assert (launcher.folder / "sub" / "out.txt").exists()


@pytest.mark.parametrize("report", ["file/out.json", "folder.json", "out.xyz"])
def test_an_unwritable_report_is_told_before_anything_runs(launcher: Launcher, report: str) -> None:
    launcher.write(train=TRAIN)
    (launcher.folder / "file").write_text("")
    (launcher.folder / "folder.json").mkdir()
    ran = launcher.watched("train.py", reports=(report,))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1 and report in ran.stderr


def test_a_report_lost_on_the_way_harms_nothing(launcher: Launcher) -> None:
    text = "import shutil\nx = 1\nshutil.rmtree('sub')\nopen('sub', 'w')\n"
    launcher.write(train=text)
    (launcher.folder / "sub").mkdir()
    ran = launcher.watched(
        "train.py", probed=probed(ERROR, text), quiet=False, reports=("sub/out.json",)
    )
    assert ran.returncode == 0
    assert ran.stderr.count("error TCS66") == 1
    assert [line for line in ran.stderr.splitlines() if "cannot be written" in line] != []


def test_a_changed_script_runs_as_it_is(launcher: Launcher) -> None:
    launcher.write(train="print('planned')")
    command = launcher.command("train.py", probed={"train.py": "print('instrumented')"})
    launcher.write(train="print('changed')")
    ran = launcher._run(command)
    assert ran.stdout == "changed\n"
    assert len(ran.stderr.splitlines()) == 1 and "not watched, it was changed" in ran.stderr


# -- signals --------------------------------------------------------------------------------------

WAITING = """
import sys
x = 1
try:
    print("ready", flush=True)
    sys.stdin.read()
finally:
    print("cleaned up", flush=True)
"""


def killed(launcher: Launcher, signum: int, text: str = WAITING) -> tuple[int, str, str, Any]:
    launcher.write(train=text)
    how = {"quiet": False, "reports": ("out.json",)}
    command = launcher.command("train.py", probed=probed(ERROR_AT_END, text), **how)
    ended = launcher.signalled(command, signum)
    path = launcher.folder / "out.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return ended.returncode, ended.stdout, ended.stderr, report


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_killing_signal_kills_after_what_is_pending_was_judged(
    launcher: Launcher, signum: int
) -> None:
    status, out, err, report = killed(launcher, signum)
    assert status == -signum
    assert out == ""
    assert err.count("error TCS67") == 1
    assert report["exit_status"] == 128 + signum
    assert [finding["code"] for finding in report["findings"]] == ["TCS67"]


def test_the_users_own_handler_wins(launcher: Launcher) -> None:
    own = WAITING.replace(
        "x = 1", "x = 1\nimport signal\nsignal.signal(15, lambda *_: sys.exit(5))"
    )
    status, out, _, report = killed(launcher, signal.SIGTERM, own)
    assert (status, out) == (5, "cleaned up\n")
    assert report["exit_status"] == 5


def test_ctrl_c_ends_as_ever(launcher: Launcher) -> None:
    status, out, err, report = killed(launcher, signal.SIGINT)
    assert (status, out) == (-signal.SIGINT, "cleaned up\n")
    assert report["exit_status"] == 130
    assert err.rstrip().splitlines()[-1].startswith("tcstatic:")
    assert 'File "' + str(launcher.folder / "train.py") in err
    assert "runtime" not in err.partition("KeyboardInterrupt")[0]


def test_kill_9_leaves_what_was_known(launcher: Launcher) -> None:
    text = WAITING.replace("x = 1", f"x = 1\nx = {ERROR}")
    launcher.write(train=text)
    found = {"train.py": text.replace(f"x = {ERROR}", f"x = _tcstatic.after({ERROR}, 1)")}
    command = launcher.command("train.py", probed=found, reports=("out.json",))
    assert launcher.signalled(command, signal.SIGKILL).returncode == -signal.SIGKILL
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    assert report["exit_status"] is None
    assert [finding["code"] for finding in report["findings"]] == ["TCS66"]


def test_a_signal_to_a_forked_child_kills_it_alone(launcher: Launcher) -> None:
    text = """
import os, signal
told, tell = os.pipe()
held, hold = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(hold)
    os.write(tell, b"begun")
    os._exit(len(os.read(held, 1)))
os.read(told, 5)
os.kill(pid, signal.SIGTERM)
print(os.waitpid(pid, 0)[1])
x = 1
"""
    launcher.write(train=text)
    ran = launcher.watched("train.py", probed=probed(ERROR, text), reports=("out.json",))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "15\n", "")


# -- ranks ----------------------------------------------------------------------------------------

RANKS = """
import os, sys
rank = int(os.environ["RANK"])
x = 1
print("ready", flush=True)
sys.stdin.readline()
if rank == 1:
    os.environ.get("DIE") and os.kill(os.getpid(), 9)
    sys.exit(int(os.environ.get("STATUS", "0")))
"""


def ranks(
    launcher: Launcher, *order: int, held: bool = False, **environment: str
) -> tuple[list[Ended], Any]:
    """Two ranks, started at once, that end in this order.

    `held`: the second begins only when the first is over.
    """
    launcher.write(train=RANKS)
    text = probed(ERROR, RANKS)
    common = {"MASTER_PORT": str(time.time_ns()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = launcher.command("train.py", probed=text, quiet=False, reports=("out.json",))
    gate = ["sh", "-c", 'read _; exec "$@"', "sh"]
    started = [
        launcher.start(
            [*(gate if held and rank else []), *command],
            **{**common, **environment, "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    for one in started[: 1 if held else 2]:
        assert one.stdout is not None
        one.stdout.readline()
    said = {rank: started[rank].communicate("begin\nend\n", timeout=SECONDS) for rank in order}
    ended = [Ended(one.args, one.returncode, *said[rank]) for rank, one in enumerate(started)]
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    return ended, report


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ranks_give_one_report_and_one_summary(launcher: Launcher, order: tuple[int, int]) -> None:
    ended, report = ranks(launcher, *order)
    err = "".join(one.stderr for one in ended)
    assert err.count("error TCS66") == 1
    assert err.count("tcstatic: invariants:") == 1
    assert report["ranks"] == [0, 1] and report["incomplete"] == []
    assert report["exit_status"] == 0
    assert report["probes"]["events"] == 2
    assert [finding["count"] for finding in report["findings"]] == [2]
    assert not list(launcher.folder.parent.glob("tcstatic-job-*"))


def test_a_rank_that_is_over_before_the_other_begins_is_in_the_report(launcher: Launcher) -> None:
    """Both were started at once; the second is held up before Python begins."""
    for _ in range(2):
        ended, report = ranks(launcher, 0, 1, held=True)
        assert [one.returncode for one in ended] == [0, 0]
        assert "".join(one.stderr for one in ended).count("tcstatic: invariants:") == 1
        assert report["ranks"] == [0, 1] and report["incomplete"] == []
        assert report["probes"]["events"] == 2


def test_what_a_killed_job_left_behind_is_not_in_the_next_report(launcher: Launcher) -> None:
    """The same launcher starts the job again, on the same port."""
    port = str(time.time_ns())
    _, report = ranks(launcher, 0, 1, DIE="1", MASTER_PORT=port)
    assert report["incomplete"] == ["rank 1 was still running"]
    assert list(launcher.folder.parent.glob("tcstatic-job-*"))
    ended, report = ranks(launcher, 0, 1, held=True, MASTER_PORT=port)
    assert "".join(one.stderr for one in ended).count("tcstatic: invariants:") == 1
    assert report["incomplete"] == [] and report["probes"]["events"] == 2


def test_a_rank_that_fails_gives_its_status(launcher: Launcher) -> None:
    _, report = ranks(launcher, 1, 0, STATUS="4")
    assert report["exit_status"] == 4 and report["incomplete"] == []


def test_a_rank_that_dies_is_named(launcher: Launcher) -> None:
    ended, report = ranks(launcher, 1, 0, DIE="1")
    assert [one.returncode for one in ended] == [0, -9]
    assert len(report["incomplete"]) == 1
    assert report["incomplete"][0].startswith("rank 1 ended without a last word")
    assert report["ranks"] == [0, 1] and report["probes"]["events"] >= 1
    assert "incomplete: rank 1" in ended[0].stderr


def test_a_rank_that_is_stuck_in_c_code_can_still_be_killed(launcher: Launcher) -> None:
    stuck = """
import hashlib
x = 1
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    launcher.write(train=stuck)
    launcher.environment |= {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": str(time.time_ns())}
    command = launcher.command(
        "train.py", probed=probed(ERROR_AT_END, stuck), reports=("out.json",)
    )
    assert launcher.signalled(command, signal.SIGTERM).returncode == -signal.SIGTERM
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    assert [finding["code"] for finding in report["findings"]] == ["TCS67"]


def test_a_forked_child_of_a_rank_keeps_its_signals_to_itself(launcher: Launcher) -> None:
    text = """
import os, signal
if os.fork() == 0:
    print(signal.set_wakeup_fd(-1), flush=True)
    os._exit(0)
print(os.wait()[1])
"""
    launcher.write(train=text)
    launcher.environment |= {"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": str(time.time_ns())}
    assert launcher.watched("train.py").stdout == "-1\n0\n"


@pytest.mark.parametrize(
    ("ending", "status"),
    [("", 0), ("sys.exit(3)", 3), ("1 / 0", 1), ("raise KeyboardInterrupt", 130)],
)
@pytest.mark.parametrize("asked", ["warn", "fail"])
def test_a_copy_learns_how_it_ended(
    launcher: Launcher, ending: str, status: int, asked: str
) -> None:
    text = probed(ERROR, TRAIN + ending)["train.py"] + "\n"
    launcher.write(
        train=text.replace("import atexit, sys", "import atexit, sys, _tcstatic"),
        _tcstatic="from tests.unit.live.standin import stand_in\nstand_in()\n"
        "from tcstatic.runtime.live.attach import attach\n"
        f"after = attach({str(launcher.plan)!r}).after\n",
    )
    launcher.command("train.py", on_violation=asked, reports=("out.json",))
    ran = launcher.natively("train.py")
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    assert report["exit_status"] == status
    assert ran.returncode == {0: int(asked == "fail"), 130: -signal.SIGINT}.get(status, status)
    assert ran.stdout.endswith("at exit\n")
    assert [finding["code"] for finding in report["findings"]] == ["TCS66"]
