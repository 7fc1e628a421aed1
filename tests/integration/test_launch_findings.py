"""What a watched program tells: findings, reports, its exit status; and what befalls them."""

from __future__ import annotations

import json
import signal

import pytest

from tests.integration.launching import TRAIN, Launcher, probed
from tests.unit.live.standin import ERROR, ERROR_AT_END, OUR_BUG, WARNING


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
    ran = launcher.run(command)
    assert ran.stdout == "changed\n"
    assert len(ran.stderr.splitlines()) == 1 and "not watched, it was changed" in ran.stderr


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
