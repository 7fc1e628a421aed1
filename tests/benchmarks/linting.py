"""What lint costs: CPU time cold and warm, one changed file, beside others; and what it resolves.

    python -m tests.benchmarks.linting [FOLDER ...] [--rivals FOLDER] [--sample LINES]

FOLDER: python code, by default the installed torch. The folder of rivals holds one virtual
environment each, `torchfix` and `fixit`; they read a sample, for they need about a second for a
thousand lines. One core; times are CPU seconds of the whole process and its children.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tests.benchmarks.corpus import python_files

LINT: Final = (sys.executable, "-m", "tcstatic", "lint", "--output-format", "json", "--jobs", "1")
SCRIPTS: Final = Path(__file__).parents[2] / "fixtures" / "scripts"
ROUNDS: Final = 3
# CPU ms per 1,000 lines cold; how much faster a warm run is; seconds for one changed file.
BOUND_COLD, BOUND_WARM, BOUND_START, BOUND_RIVAL = 40.0, 20.0, 0.4, 20.0


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command: CPU and wall seconds, and what it printed."""

    cpu: float
    wall: float
    output: str
    status: int


def cost(command: Sequence[str], cache: str, folder: Path | None = None) -> Cost:
    """Run a command on one core, and wait for it and its children."""
    environment = {**os.environ, "TCSTATIC_CACHE": cache, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile() as file:
        before, started = os.times(), time.perf_counter()
        core = {min(os.sched_getaffinity(0))}
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=folder,
            preexec_fn=lambda: os.sched_setaffinity(0, core),
        )
        status = process.wait()
        wall, after = time.perf_counter() - started, os.times()
        file.seek(0)
        output = file.read().decode("utf-8", "replace")
    used = after.children_user + after.children_system
    return Cost(used - before.children_user - before.children_system, wall, output, status)


def lines_of(paths: Sequence[Path]) -> int:
    return sum(path.read_bytes().count(b"\n") for path in paths)


def whole(folder: Path) -> Mapping[str, Any]:
    """Print the cost of a folder, cold and warm, and return the cold run's report."""
    lines = lines_of(python_files(folder))
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as home:
        # A copy of the code alone: lint passes over what is installed.
        copy = str(shutil.copytree(folder, Path(home, folder.name), ignore=_not_python))
        cold = cost([*LINT, "--no-cache", copy], cache)
        filled = cost([*LINT, copy], cache)
        warm = cost([*LINT, copy], cache)
    per_line = 1e6 / max(lines, 1)
    print(
        f"{folder.name}: {lines / 1000:.0f} kline, cold {cold.cpu * per_line:.1f} CPU ms per kline "
        f"(bound {BOUND_COLD:.0f}), filling the cache {filled.cpu * per_line:.1f}, warm "
        f"{warm.cpu * per_line:.2f}: {cold.cpu / warm.cpu:.1f}x faster (bound {BOUND_WARM:.0f}x)"
    )
    if cold.output != filled.output or cold.output != warm.output:
        print("  the three runs do not say the same")
    return report(cold)


def _not_python(folder: str, names: list[str]) -> list[str]:
    files = (name for name in names if not os.path.isdir(os.path.join(folder, name)))
    return [name for name in files if not name.endswith(".py")]


def report(run: Cost) -> Mapping[str, Any]:
    """Return what lint printed; an empty report where it printed none."""
    try:
        found: dict[str, Any] = json.loads(run.output)
        return found
    except ValueError:
        print(f"  lint gave no report (exit status {run.status}); its times say nothing")
        return {}


def start_up() -> None:
    """Print the wall time of lint on one changed file of a small project, as pre-commit runs it."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        shutil.copytree(SCRIPTS / "trainer_class", project)
        cache = str(Path(folder, "cache"))
        runs: dict[str, list[Cost]] = {"cold": [], "one file changed": [], "nothing changed": []}
        command = [*LINT, "train.py"]
        for number in range(7):
            shutil.rmtree(cache, ignore_errors=True)
            runs["cold"].append(cost(command, cache, project))
            with (project / "train.py").open("a") as script:
                script.write(f"# {number}\n")
            runs["one file changed"].append(cost(command, cache, project))
            runs["nothing changed"].append(cost(command, cache, project))
    for name, one in runs.items():
        wall = statistics.median(each.wall for each in one)
        cpu = statistics.median(each.cpu for each in one)
        print(f"lint of one file, {name}: {wall:.3f} s, CPU {cpu:.3f} s (bound {BOUND_START} s)")


def sample(folders: Sequence[Path], lines: int) -> list[Path]:
    """Return files with torch in them, drawn by a fixed seed, of about so many lines."""
    found = [path for folder in folders for path in python_files(folder)]
    chosen: list[Path] = []
    count = 0
    for path in random.Random(0).sample(found, len(found)):
        source = path.read_bytes()
        if count < lines and b"torch" in source:
            chosen.append(path)
            count += source.count(b"\n")
    return chosen


def rivals(folder: Path | None) -> dict[str, list[str]]:
    """Return the command of each rival that is there; name those that are absent."""
    commands = {"TorchFix": ("torchfix", "torchfix"), "Fixit": ("fixit", "fixit")}
    found = {}
    for name, (home, program) in commands.items():
        path = folder / home / "bin" / program if folder else None
        if path is None or not path.exists():
            print(f"{name}: absent")
        elif name == "TorchFix":
            found[name] = [str(path), "--jobs", "1"]
        else:
            found[name] = [str(path), "lint"]
    return found


def paired(folders: Sequence[Path], lines: int, home: Path | None) -> None:
    """Print the CPU time of lint and of its rivals on the same files, run in turn."""
    commands = rivals(home)
    if not commands:
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for number, path in enumerate(sample(folders, lines)):
            copy = Path(folder, "files", f"p{number}", path.name)
            copy.parent.mkdir(parents=True)
            shutil.copyfile(path, copy)
            copies.append(copy)
        kilolines = lines_of(copies) / 1000
        every = {"tcstatic": [*LINT, "--no-cache"], **commands}
        times: dict[str, list[float]] = {name: [] for name in every}
        for _ in range(ROUNDS):
            for name, command in every.items():
                files = str(Path(folder, "files"))
                times[name].append(cost([*command, files], str(Path(folder, "cache"))).cpu)
    print(f"paired, {len(copies)} files, {kilolines:.1f} kline, {ROUNDS} rounds in turn, one core:")
    own = times["tcstatic"]
    for name, spent in times.items():
        ratio = statistics.median(one / mine for one, mine in zip(spent, own, strict=True))
        bound = "" if name == "tcstatic" else f" (bound {BOUND_RIVAL:.0f}x)"
        each = statistics.median(spent) * 1000 / kilolines
        print(f"  {name:9} {each:8.1f} CPU ms per kline, {ratio:6.1f} times ours{bound}")


def resolved(reports: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return, for each kind of site, those whose subject's role is known, and all of them."""
    sums: dict[str, tuple[int, int]] = {}
    for one in reports:
        for kind, site in one.get("coverage", {}).get("roles", {}).items():
            before = sums.get(kind, (0, 0))
            sums[kind] = (before[0] + site["known"], before[1] + site["sites"])
    return sums


def show_resolved(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print the share of sites whose role is resolved, and in how many files a rule is unknown."""
    for kind, (known, sites) in sorted(resolved(reports).items()):
        print(f"roles resolved at {kind}: {known} of {sites} ({known / max(sites, 1):.1%})")
    unknown: Counter[str] = Counter()
    for one in reports:
        unknown.update(one.get("coverage", {}).get("unknown", {}))
    told = ", ".join(f"{code} {number}" for code, number in sorted(unknown.items()))
    print(f"files in which a rule is unknown: {told or 'none'}")


def installed_torch() -> Path:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("torch is not installed; name a folder")
    return Path(spec.origin).parent


def main(arguments: Sequence[str] = ()) -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--rivals", type=Path, help="folder of their virtual environments")
    parser.add_argument("--sample", type=int, default=20_000, help="lines that rivals read")
    options = parser.parse_args(arguments)
    folders = [one.absolute() for one in options.folders] or [installed_torch()]
    start_up()
    show_resolved([whole(folder) for folder in folders])
    paired(folders, options.sample, options.rivals)


if __name__ == "__main__":
    main(sys.argv[1:])
