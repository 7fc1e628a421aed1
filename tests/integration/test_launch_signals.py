"""Signals kill, interrupt and are handled as ever; what was seen until then is told."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.integration.launching import Launcher, job, probed
from tests.unit.live.standin import ERROR, ERROR_AT_END

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


def test_a_rank_that_is_stuck_in_c_code_can_still_be_killed(launcher: Launcher) -> None:
    stuck = """
import hashlib
x = 1
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    launcher.write(train=stuck)
    launcher.environment |= {**job(), "RANK": "0"}
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
    launcher.environment |= {**job(), "RANK": "0"}
    assert launcher.watched("train.py").stdout == "-1\n0\n"
