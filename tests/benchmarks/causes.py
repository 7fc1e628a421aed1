"""Runs the programs of fixtures/causes, and counts where the line to mend is named first.

    python -m tests.benchmarks.causes [NAME...] [--json FILE]

A NAME is a part of the names of programs, such as the code of a rule. Exit status 1 where the
bounds of `BOUNDS` are missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.golden.causing import Told, programs, told
from tests.golden.running import Runs

# Programs at least, the share whose line is first, and the share whose line is named at all.
BOUNDS: Final = (120, 0.90, 0.98)


def main(arguments: list[str] | None = None) -> int:
    """Run the programs that are asked for, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    wanted = [one for one in programs() if _is_asked(one.name, options.names)]
    with tempfile.TemporaryDirectory(prefix="causes-") as folder:
        runs = Runs(Path(folder))
        found = [told(runs, program, Path(folder)) for program in wanted]
        runs.close()
    print("\n".join(table(found)))
    if options.json:
        options.json.write_text(json.dumps([_plain(one) for one in found], indent=1) + "\n")
    return 0 if options.names or _holds(found) else 1


def table(found: Iterable[Told]) -> Iterator[str]:
    """Return the lines of a table by rule, what is not first, and the sums."""
    rules: dict[str, list[Told]] = defaultdict(list)
    for one in found:
        rules[one.program.name.partition("/")[0]].append(one)
    yield "rule     programs  first  named  one finding"
    for rule, told_of in [*sorted(rules.items()), ("all", [*found])]:
        counts = [sum(one.first for one in told_of), sum(one.among for one in told_of)]
        alone = sum(one.alone for one in told_of)
        yield f"{rule:8} {len(told_of):8} {counts[0]:6} {counts[1]:6} {alone:12}"
    for one in found:
        if not (one.first and one.alone):
            program = one.program
            yield f"{program.name}: {program.file}:{program.line} was to be named, not"
            yield from (
                f"    {severity} {code} {file}:{line}"
                for severity, code, file, line in one.findings
            )


def _is_asked(name: str, names: list[str]) -> bool:
    return not names or any(one in name for one in names)


def _holds(found: list[Told]) -> bool:
    count, first, among = len(found), sum(o.first for o in found), sum(o.among for o in found)
    return count >= BOUNDS[0] and first >= BOUNDS[1] * count and among >= BOUNDS[2] * count


def _plain(one: Told) -> dict[str, object]:
    read = asdict(one)
    read["program"] = one.program.name
    read["candidates"] = sorted(one.candidates)
    return {**read, "first": one.first, "among": one.among}


if __name__ == "__main__":
    sys.exit(main())
