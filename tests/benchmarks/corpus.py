"""Real code that uses torch, from the package index: false alarms of lint are counted on it.

    python -m tests.benchmarks.corpus --folder FOLDER [--torch]

Downloads pinned packages into FOLDER (source distributions where they can be had, for their
examples and tests; never a dependency of theirs), unpacks their Python files into FOLDER/lib and
prints a table. What lies there already is not fetched again. Nothing is imported or installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

# pip asks a source distribution for its metadata before it hands it over; the build back ends
# that do it are installed here, once, because an isolated build may install torch.
BACK_ENDS: Final = (
    "setuptools wheel hatchling hatch-vcs setuptools-scm poetry-core flit-core pdm-backend "
    "numpy cython packaging pybind11 pytest-runner"
).split()

SOURCES: Final = """
    TTS==0.22.0 accelerate==1.15.0 avalanche-lib==0.6.0 captum==0.9.0 cleanrl==0.4.8 d2l==1.0.3
    deepspeed==0.19.8 diffusers==0.42.1 espnet==202511 fairscale==0.4.13 fairseq==0.12.2
    fastai==2.8.12 flair==0.15.1 gpytorch==1.15.2 kornia==0.9.0 learn2learn==0.2.0
    lightning==2.6.6 litgpt==0.5.13 opacus==1.6.0 open_clip_torch==3.3.0 peft==0.21.2
    pfrl==0.4.0 pyro-ppl==1.9.2 pytorch-ignite==0.5.5 pytorch-metric-learning==2.9.0
    rl-games==1.6.5 segmentation-models-pytorch==0.6.0 sentence-transformers==6.2.0
    skorch==1.4.0 snntorch==1.0.0 speechbrain==1.1.2 stable-baselines3==2.9.2 tianshou==2.0.1
    timm==1.0.31 torch-geometric==2.8.1 torchtitan==0.3.0 transformers==5.23.0 trl==1.16.0
    tsai==1.0.1
""".split()
WHEELS: Final = """
    allennlp==2.10.1 botorch==0.18.1 catalyst==22.4 darts==0.48.1 monai==1.6.1
    pytorch-tabnet==4.1.0 pytorch-widedeep==1.7.0 torchensemble==0.2.0 torchtune==0.6.1
    ultralytics==8.4.190 yolov5==7.0.14
""".split()

BACKWARD: Final = re.compile(rb"\.backward\(")
STEP: Final = re.compile(rb"\.step\(")


@final
@dataclass(frozen=True, slots=True)
class Package:
    """What the table says of one package; sites are counted by text."""

    name: str
    files: int
    lines: int
    backward_files: int
    backward_sites: int
    step_files: int
    step_sites: int


def fetch(folder: Path) -> list[str]:
    """Download what is missing, unpack it, and return what could not be had."""
    archives = folder / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    fetched = {_canonical(path.name) for path in archives.iterdir()}
    missing = []
    for form, requirements in (("--no-binary", SOURCES), ("--only-binary", WHEELS)):
        for requirement in requirements:
            name, version = requirement.split("==")
            if any(one.startswith(_canonical(f"{name}-{version}")) for one in fetched):
                continue
            command = [str(_python(folder)), "-m", "pip", "download", "--quiet", "--no-deps"]
            options = ["--no-build-isolation", form, ":all:", "--dest", str(archives)]
            done = subprocess.run([*command, *options, requirement], check=False)
            if done.returncode:
                missing.append(requirement)
    for archive in sorted(archives.iterdir()):
        unpack(archive, folder / "lib")
    return missing


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(folder: Path) -> Path:
    """Return an interpreter that has the build back ends; made at the first call."""
    home = folder / "build"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *BACK_ENDS], check=True)
    return python


def unpack(archive: Path, library: Path) -> None:
    """Unpack the Python files of an archive into a folder `name-version` of the library."""
    if archive.suffix == ".whl":
        target = library / "-".join(archive.name.split("-")[:2])
        if not target.exists():
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(target, [one for one in wheel.namelist() if one.endswith(".py")])
    elif not (library / archive.name.removesuffix(".tar.gz")).exists():
        with tarfile.open(archive) as source:
            members = [one for one in source if one.isreg() and one.name.endswith(".py")]
            source.extractall(library, members, filter="data")


def link_torch(library: Path) -> None:
    """Put the installed torch beside the packages, as a link."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("torch is not installed")
    target = library / "torch-installed" / "torch"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink():
        target.symlink_to(Path(spec.origin).parent, target_is_directory=True)


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, in order; a linked folder counts as its own."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [one for one in folders if one != "__pycache__"]
        yield from (Path(base, file) for file in files if file.endswith(".py"))


def package(folder: Path) -> Package:
    """Count what one package holds."""
    files = lines = 0
    counts = {BACKWARD: [0, 0], STEP: [0, 0]}
    for path in python_files(folder):
        text = path.read_bytes()
        files += 1
        lines += text.count(b"\n")
        for pattern, count in counts.items():
            found = len(pattern.findall(text))
            count[0] += found > 0
            count[1] += found
    return Package(folder.name, files, lines, *counts[BACKWARD], *counts[STEP])


def table(packages: list[Package]) -> str:
    """Return the table of packages, with its sum."""
    head = f"{'package':36} {'files':>6} {'lines':>8}  files with / sites of backward, step"
    rows = [head]
    names = ("files", "lines", "backward_files", "backward_sites", "step_files", "step_sites")
    sums = [sum(getattr(one, name) for one in packages) for name in names]
    for one in [*packages, Package("all", *sums)]:
        backward = f"{one.backward_files:5} /{one.backward_sites:5}"
        step = f"{one.step_files:5} /{one.step_sites:5}"
        rows.append(f"{one.name:36} {one.files:6} {one.lines:8}  {backward}  {step}")
    return "\n".join(rows)


def main() -> int:
    """Fetch, unpack and print; exit status 1 where a package is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the packages lie")
    parser.add_argument("--torch", action="store_true", help="count the installed torch as well")
    options = parser.parse_args()
    missing = fetch(options.folder)
    library = options.folder / "lib"
    if options.torch:
        link_torch(library)
    print(table([package(one) for one in sorted(library.iterdir()) if one.is_dir()]))
    for requirement in missing:
        print(f"not to be had: {requirement}")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
