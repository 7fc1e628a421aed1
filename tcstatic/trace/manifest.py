"""The manifest of one process's part of a trace: what was run, with what, and how it ended."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tcstatic import __version__
from tcstatic.caching import read_whole
from tcstatic.errors import InputError, input_problem
from tcstatic.launching import LOCALS, NAMES, STEP, WORLDS
from tcstatic.model import (
    TRACE_SCHEMA,
    Dropped,
    Fact,
    Location,
    ProbeCounts,
    Recording,
    RunFacts,
    Site,
    Suppression,
)

MANIFEST: Final = "manifest.json"
MOST_BYTES: Final = 1 << 24  # 16 MiB: a manifest of ten thousand sites has three
FAMILY: Final = TRACE_SCHEMA.rpartition("/")[0]

# Nothing else of the environment is kept.
ENVIRONMENT: Final = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "RANK",
    "WORLD_SIZE",
)
_SECRET: Final = re.compile(r"key|token|secret|passw|credential|auth|cookie", re.IGNORECASE)
_TOKEN: Final = re.compile(
    r"\b(?:hf|gh[opsu]|github_pat|sk|xox[a-z]|glpat)[-_][\w-]{8,}|://[^/@\s]+@"
)
HIDDEN: Final = "***"


def without_secrets(command: str) -> str:
    """Return a command line with the values hidden that look like passwords or tokens."""
    try:
        words = shlex.split(command)
    except ValueError:
        return HIDDEN
    shown: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        name, equals, _ = word.partition("=")
        if equals and _SECRET.search(name):
            word = f"{name}={HIDDEN}"
        elif (before.startswith("-") and "=" not in before and _SECRET.search(before)) and (
            not word.startswith("-")
        ):
            word = HIDDEN
        shown.append(_TOKEN.sub(HIDDEN, word))
    return shlex.join(shown)


def environment() -> dict[str, str]:
    """Return what may be kept of this process's environment."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def versions() -> dict[str, str]:
    """Return the versions of this process; torch's is '' where it was not loaded."""
    torch = sys.modules.get("torch")
    return {
        "tcstatic": __version__,
        "python": platform.python_version(),
        "torch": str(getattr(torch, "__version__", "")),
    }


def seed() -> int | None:
    """Return the seed of torch's own generator, None where that cannot be known."""
    torch = sys.modules.get("torch")
    try:
        return int(torch.initial_seed()) if torch is not None else None
    except Exception:
        return None


def world_size() -> int:
    """Return how many ranks there are, by torch.distributed or else by the launcher."""
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_initialized():
            return int(distributed.get_world_size())
        return int(os.environ.get("WORLD_SIZE", "1"))
    except Exception:
        return 1


def job() -> str:
    """Return a name that all ranks which one launcher has started derive alike, '' for others."""
    world, local = _most_told(WORLDS), _most_told(LOCALS)
    if world < 2:
        return ""
    known = [os.environ.get(name, "") for name in NAMES]
    if not 0 < local < world and _most_told((STEP,)) < 2:
        known.append(str(os.getppid()))  # all are on this host, and have one parent
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:16]


def _most_told(names: Iterable[str]) -> int:
    """The largest number that the environment has under some names."""
    found = (os.environ.get(name, "") for name in names)
    return max((int(text) for text in found if text.isdecimal()), default=0)


def job_of(part: Path) -> str | None:
    """Return the job that a part is of, None where that cannot be read."""
    try:
        return str(json.loads(read_whole(part / MANIFEST, MOST_BYTES))["job"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def told(recording: Recording) -> dict[str, Any]:
    """Return what of a manifest does not change while a process runs."""
    return {
        "schema": TRACE_SCHEMA,
        "job": job(),
        "command": without_secrets(recording.command),
        "script": recording.script,
        "pid": os.getpid(),
        "environment": environment(),
        "in_scope": list(recording.in_scope),
        "out_of_scope": dict(recording.out_of_scope),
        "sites": [asdict(site) for site in recording.sites],
        "assumed": [asdict(fact) for fact in recording.assumed],
        "suppressions": [asdict(one) for one in recording.suppressions],
    }


def read_manifest(path: Path) -> tuple[RunFacts, int, int]:
    """Return what a manifest tells, and how many events and steps it counts; raise InputError."""
    where = str(path)
    try:
        data = json.loads(read_whole(path, MOST_BYTES))
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise InputError(input_problem("no manifest can be read", where=where, got=got)) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(where, error) from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != TRACE_SCHEMA:
        newer = isinstance(schema, str) and schema.rpartition("/")[0] == FAMILY
        raise InputError(
            input_problem(
                "made by another version of tcstatic" if newer else "not a manifest of a trace",
                where=where,
                got=repr(schema)[:60],
                expected=TRACE_SCHEMA,
                cure="read it with the tcstatic that has recorded it" if newer else "",
            )
        )
    try:
        return _facts(path.parent.name, data), _count(data["events"]), _count(data["steps"])
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(where, error) from None


def _damaged(where: str, error: Exception) -> InputError:
    got = " ".join(f"{type(error).__name__}: {error}".split())[:120]
    return InputError(
        input_problem("damaged manifest of a trace", where=where, got=got, cure="record it again")
    )


def _facts(name: str, data: Mapping[str, Any]) -> RunFacts:
    return RunFacts(
        name=name,
        rank=0 if data["rank"] is None else _count(data["rank"]),
        ranked=data["rank"] is not None,
        world_size=_count(data["world_size"]),
        finished=data["finished"] is True,
        exit_status=None if data["exit_status"] is None else _whole(data["exit_status"]),
        command=_text(data["command"]),
        script=_text(data["script"]),
        tcstatic=_text(data["versions"]["tcstatic"]),
        python=_text(data["versions"]["python"]),
        torch=_text(data["versions"]["torch"]),
        seed=None if data["seed"] is None else _whole(data["seed"]),
        environment=_texts_by_name(data["environment"]),
        sites=tuple(map(_site, _list(data["sites"]))),
        in_scope=_texts(data["in_scope"]),
        out_of_scope=_texts_by_name(data["out_of_scope"]),
        probes=_probes(data["probes"]),
        dropped=tuple(
            Dropped(_text(one["kind"]), _count(one["count"]), _count(one["since"]))
            for one in _list(data["dropped"])
        ),
        problem=_text(data["problem"]),
        assumed=tuple(map(_assumed, _list(data.get("assumed", [])))),
        suppressions=tuple(map(_suppression, _list(data.get("suppressions", [])))),
    )


def _assumed(data: Mapping[str, Any]) -> Fact:
    values = tuple(_list(data["values"]))
    if not all(isinstance(one, bool | int | float | str | None) for one in values):
        raise TypeError("a value is none")
    return Fact(_text(data["reason"]), _texts(data["words"]), _text(data["field"]), values)


def _suppression(data: Mapping[str, Any]) -> Suppression:
    kind: Any = _text(data["kind"])
    words, lines = _texts(data["words"]), (_whole(data["first"]), _whole(data["last"]))
    return Suppression(_text(data["file"]), kind, words, *lines)


def _site(data: Mapping[str, Any]) -> Site:
    where = data["location"]
    probe: Any = _text(data["probe"])
    return Site(
        number=_whole(data["number"]),
        probe=probe,
        kind=_text(data["kind"]),
        location=Location(
            file=_text(where["file"]),
            line=_whole(where["line"]),
            column=_whole(where["column"]),
            end_line=_whole(where["end_line"]),
            end_column=_whole(where["end_column"]),
            function=_text(where["function"]),
        ),
        callee=_text(data["callee"]),
        subject=_text(data["subject"]),
        attribute=_text(data["attribute"]),
        arguments=_texts_by_name(data["arguments"]),
    )


def _probes(data: Mapping[str, Any]) -> ProbeCounts:
    sampled = float(data["sampled"])
    if not 0 <= sampled <= 1:
        raise ValueError(f"{sampled} is no share")
    return ProbeCounts(
        installed=_count(data["installed"]),
        events=_count(data["events"]),
        sampled=sampled,
        disabled=_reasons(data["disabled"]),
        skipped=_reasons(data["skipped"]),
        thinned=_reasons(data.get("thinned", [])),
    )


def _reasons(values: object) -> tuple[tuple[str, str], ...]:
    return tuple((_text(one), _text(why)) for one, why in map(_list, _list(values)))


def _whole(value: object) -> int:
    # -2^63 to 2^64 - 1: a seed of torch has 64 bits, with or without a sign
    if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
        raise TypeError(f"{value!r:.40} is no whole number")
    return value


def _count(value: object) -> int:
    if _whole(value) < 0:
        raise ValueError(f"{value} is no count")
    return _whole(value)


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _list(value: object) -> list[Any]:
    if type(value) is not list:
        raise TypeError(f"{value!r:.40} is no list")
    return value


def _texts(values: object) -> tuple[str, ...]:
    return tuple(map(_text, _list(values)))


def _texts_by_name(values: Mapping[object, object]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in values.items()}
