"""A program under `runtime.live` is the program under ``python``: output, status, tracebacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.launching import Ended, Launcher


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
