"""What `lint` prints: findings on stdout in the format asked for, all else on stderr."""

from __future__ import annotations

import functools
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import click

from tcstatic.errors import InputError, input_problem

if TYPE_CHECKING:
    from tcstatic.lint.discovery import Discovered
    from tcstatic.lint.outcome import Outcome
    from tcstatic.model import Finding

_SEVERITIES: Final = ("error", "warning", "note")


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """How to show an outcome. `texts` stand for files on disk, with fixes in them; `old_texts`
    without; `from_stdin` is what standard input is the text of."""

    format: str
    texts: Mapping[Path, bytes]
    old_texts: Mapping[Path, bytes]
    from_stdin: Path | None = None
    diff: bool = False
    fix: bool = False
    unsafe: bool = False
    statistics: bool = False


def show(outcome: Outcome, shown: Shown) -> None:
    """Print an outcome; write fixed files where that was asked for."""
    for one in outcome.problems:
        click.echo(f"tcstatic: {_near(Path(one.path))}: {one.reason}", err=True)
    for one in outcome.bugs:
        cure = "a bug in tcstatic, please report it"
        click.echo(
            f"tcstatic: {_near(Path(one.path))}: not linted ({one.reason}); {cure}", err=True
        )
    if shown.diff:
        _show_diff(outcome, shown)
        return
    aside = False
    if shown.fix:
        aside = shown.from_stdin is not None
        _write_fixed(outcome, shown)
    _FORMATS[shown.format](outcome, shown, aside)
    if shown.statistics:
        from tcstatic.report.snippets import statistics

        for line in statistics(outcome.report.findings):
            click.echo(line, err=aside or shown.format not in ("text", "concise"))


def _show_text(outcome: Outcome, shown: Shown, aside: bool) -> None:
    from tcstatic.lint.sources import Sources
    from tcstatic.report.snippets import explanation, finding_text

    colour = _in_colour(aside)
    sources = Sources(shown.texts)
    for finding, near in zip(outcome.report.findings, _as_seen_from_here(outcome), strict=True):
        line_of = functools.partial(sources.line, outcome.base / finding.where.file)
        click.echo(finding_text(near, line_of, colour=colour) + "\n", err=aside)
    for line in explanation(outcome.report.verdicts, dict(outcome.rules), colour=colour):
        click.echo(line, err=aside)
    for line in _unseen(outcome):
        click.echo(line, err=aside)
    for line in _summary(outcome, shown):
        click.echo(line, err=aside)


def _show_concise(outcome: Outcome, shown: Shown, aside: bool) -> None:
    from tcstatic.report.lines import concise_line

    _show_lines(outcome, aside, map(concise_line, _as_seen_from_here(outcome)))


def _show_github(outcome: Outcome, shown: Shown, aside: bool) -> None:
    from tcstatic.report.lines import github_line

    _show_lines(outcome, aside, map(github_line, outcome.report.findings))


def _show_lines(outcome: Outcome, aside: bool, lines: Iterator[str]) -> None:
    from tcstatic.report.snippets import explanation

    for line in lines:
        click.echo(line, err=aside)
    for line in explanation(outcome.report.verdicts, dict(outcome.rules)):
        click.echo(line, err=True)
    for line in _unseen(outcome):
        click.echo(line, err=True)


def _unseen(outcome: Outcome) -> Iterator[str]:
    """What --explain says of files that were not looked at."""
    if outcome.report.verdicts:
        yield from (f"not looked at: {line}" for line in outcome.report.incomplete)


def _show_json(outcome: Outcome, shown: Shown, aside: bool) -> None:
    from tcstatic.report import to_json

    coverage = outcome.coverage.data() if outcome.coverage is not None else None
    click.echo(to_json(outcome.report, coverage=coverage), nl=False, err=aside)


def _show_sarif(outcome: Outcome, shown: Shown, aside: bool) -> None:
    from tcstatic.report.sarif import to_sarif

    click.echo(to_sarif(outcome.report, outcome.rules), nl=False, err=aside)


_FORMATS: Final[Mapping[str, Callable[[Outcome, Shown, bool], None]]] = {
    "text": _show_text,
    "concise": _show_concise,
    "github": _show_github,
    "json": _show_json,
    "sarif": _show_sarif,
}


def _in_colour(aside: bool) -> bool:
    stream = sys.stderr if aside else sys.stdout
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")


def _as_seen_from_here(outcome: Outcome) -> Iterator[Finding]:
    from tcstatic.lint.outcome import moved

    here = Path.cwd()
    return (moved(one, outcome.base, here) for one in outcome.report.findings)


def _near(path: Path) -> str:
    from tcstatic.lint.discovery import file_name
    from tcstatic.report.lines import shown

    return shown(file_name(path, Path.cwd()))


def _summary(outcome: Outcome, shown: Shown) -> Iterator[str]:
    findings = outcome.report.findings
    counts = Counter(one.severity for one in findings)
    kinds = ", ".join(_many(counts[one], one) for one in _SEVERITIES if counts[one])
    aside = [
        (outcome.silenced, "silenced by comments"),
        (outcome.known, "in the baseline"),
        (len(outcome.fixed) if shown.fix else 0, "fixed"),
    ]
    others = "".join(f", {number:,} {what}" for number, what in aside if number)
    yield f"{kinds or 'no finding'} in {_many(outcome.files, 'file')}{others}"
    if outcome.elsewhere:
        names = ", ".join(map(_near, outcome.elsewhere))
        yield f"findings as well in what was not named, and is used by it: {names}"
    if outcome.gone:
        yield f"{outcome.gone:,} of the baseline found no more; --write-baseline drops them"
    safe = sum(one.fix.safe for one in findings if one.fix is not None)
    unsafe = sum(not one.fix.safe for one in findings if one.fix is not None)
    if not shown.fix and safe:
        yield f"{safe:,} can be mended with --fix"
    if unsafe and not shown.unsafe:
        yield f"{unsafe:,} can be mended with --fix --unsafe-fixes, which changes what is trained"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _show_diff(outcome: Outcome, shown: Shown) -> None:
    import difflib

    for path, content in sorted(outcome.contents.items()):
        name = _near(path)
        old = shown.old_texts.get(path)
        before, after = (_lines(text) for text in (old or path.read_bytes(), content))
        for line in difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"):
            click.echo(line, nl=not line.endswith("\n"))


def _lines(content: bytes) -> list[str]:
    from tcstatic.program.source import decode

    return io.StringIO(decode(content).text, newline="").readlines()


def _write_fixed(outcome: Outcome, shown: Shown) -> None:
    """Write the files with fixes; of standard input, the text goes to standard output."""
    for path, content in outcome.contents.items():
        if path == shown.from_stdin:
            continue
        try:
            _replace(path, content)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                input_problem(f"the fix cannot be written ({reason})", where=str(path))
            ) from None
    if shown.from_stdin is not None:
        sys.stdout.buffer.write(shown.texts[shown.from_stdin])
        sys.stdout.buffer.flush()


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole: a link stays one, and its rights stay as they are."""
    import stat

    from tcstatic.caching import write_whole

    real = Path(os.path.realpath(path))
    mode = real.stat().st_mode
    if not os.access(real, os.W_OK):
        raise PermissionError(13, "Permission denied")
    write_whole(real, content)
    real.chmod(stat.S_IMODE(mode))


def show_settings(discovered: Discovered) -> int:
    """Print what each project asks for; return the exit code."""
    if not discovered.projects:
        click.echo("tcstatic: no file to lint, so no settings", err=True)
    for one in discovered.projects:
        click.echo(f"project: {one.root} ({_many(len(one.files), 'file')})")
        settings = one.settings
        for name in settings.__slots__:
            click.echo(f"  {name.replace('_', '-')} = {getattr(settings, name)!r}")
    return 0
