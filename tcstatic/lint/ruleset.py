"""The rule files that a project asks for -> rules, compiled once and kept."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tcstatic import __version__
from tcstatic.caching import cache_folder, own_files
from tcstatic.invariants.rules import default_rules_folder
from tcstatic.invariants.rules.compiled import compiled_rules
from tcstatic.lint.settings import Settings
from tcstatic.model import Invariant


def rules_of(
    settings: Settings, rules: Sequence[str], invariants: Sequence[str], *, cache: bool
) -> tuple[tuple[Invariant, ...], str]:
    """Return all rules of a project, and a key over them and the program that reads them.

    `rules` of the command line stand for those of the settings, and they for the shipped ones;
    `invariants` come on top. Raises InputError where one of them is wrong.
    """
    paths = [Path(path) for path in rules]
    if not paths:
        paths = [settings.folder / path for path in settings.rules]
    paths = [*(paths or [default_rules_folder()]), *(Path(path) for path in invariants)]
    if not cache:
        return _loaded(tuple(paths)), ""
    folder = cache_folder() / "rules"
    return compiled_rules(paths, folder, program_stamp(), lambda: _loaded(tuple(paths)))


def every_rule(rules: Sequence[str] = ()) -> tuple[Invariant, ...]:
    """Return rules with their examples: the shipped ones, or those of `rules`."""
    return _loaded(tuple(Path(path) for path in rules) or (default_rules_folder(),))


@functools.cache
def program_stamp() -> str:
    """Return what changes with each change of the program, or of Python."""
    text = json.dumps([__version__, sys.version, list(own_files())])
    return hashlib.sha256(text.encode()).hexdigest()


def _loaded(paths: tuple[Path, ...]) -> tuple[Invariant, ...]:
    from tcstatic.invariants.relations import check_params
    from tcstatic.invariants.rules import load_rules

    return load_rules(paths, schema=check_params)
