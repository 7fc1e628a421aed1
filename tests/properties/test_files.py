"""Real files: a seeded sample of the standard library and of what is installed beside it."""

from __future__ import annotations

import random
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.model import Rewritten, Skipped, Unchanged
from tcstatic.program.source import read_module
from tcstatic.rewrite import compile_instrumented
from tests.properties.test_rewriting import check_everywhere

FILES = 300
# Longer files are left to `make bench`, which takes whole packages.
LONGEST_BYTES = 30_000


def installed_files() -> list[Path]:
    """All source files that are installed, in an order that does not depend on the machine."""
    found = []
    for kind in ("stdlib", "purelib"):
        folder = Path(sysconfig.get_path(kind))
        files = (path.relative_to(folder) for path in folder.rglob("*.py"))
        names = (path for path in files if kind == "purelib" or "site-packages" not in path.parts)
        found += [folder / path for path in sorted(names)]
    return [path for path in found if path.stat().st_size <= LONGEST_BYTES]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_a_sample_of_installed_files(capsys: pytest.CaptureFixture[str]) -> None:
    files = random.Random(20260102).sample(installed_files(), FILES)
    counts: Counter[str] = Counter()
    for path in files:
        source = path.read_bytes()
        try:
            read_module(path, source, path.stem)
        except InputError:
            counts["no Python of this version"] += 1
            continue
        outcome = check_everywhere(source)
        counts[type(outcome).__name__] += 1
        counts["lines"] += source.count(b"\n")
        if isinstance(outcome, Rewritten):
            counts["insertions"] += outcome.insertions
            compile_instrumented(source, outcome.text, str(path))
        else:
            assert isinstance(outcome, Unchanged | Skipped)
    with capsys.disabled():
        print(f"\n{FILES} installed files: {dict(counts)}", end=" ")
    assert counts["Rewritten"] > 0.6 * FILES
    assert counts["Skipped"] < 0.02 * FILES
