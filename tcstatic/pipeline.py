"""The order of the steps: rules, facts and rewriting in a short-lived child, then the plan.

`prepare` is what a run calls: it answers from the cache, or asks the child. It loads neither libcst
nor yaml, because the process that calls it becomes the user's script. `lint` has to answer at once:
what only a run needs is imported by the functions that need it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from tcstatic import __version__, errors
from tcstatic.caching import cache_folder, own_files, write_whole
from tcstatic.errors import InputError, PlanError, Undecided, input_problem
from tcstatic.invariants.rules import default_rules_folder, rules_hash
from tcstatic.model import ProbePlan, Rewritten, RunOptions, Skipped

if TYPE_CHECKING:
    from tcstatic.invariants.conditions import Condition, Values
    from tcstatic.lint.linting import Progress
    from tcstatic.lint.linting import Request as LintRequest
    from tcstatic.lint.outcome import Outcome
    from tcstatic.model import Invariant, Report

# Planning takes a second or two; a child that hangs must not hold up a training run for ever.
PLANNING_SECONDS: Final = 180

# Files that are given in place of a script: what each is, and what to do.
_NO_SOURCE: Final = {
    ".ipynb": ("this is a notebook", "`jupyter nbconvert --to script` makes one of it"),
    ".sh": ("this is a shell script", "put `tcstatic run` into it, in place of python"),
    ".zip": ("this is an archive", "unpack it"),
    ".pyz": ("this is an archive", "unpack it"),
    ".pyc": ("this is compiled", "name its source"),
}

_CHILD: Final = """\
import sys
sys.path.append(sys.argv[1])
from tcstatic.pipeline import child
child()
"""


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What to plan: a script (or, with `module`, the file of that module), rules, and packages.

    `rules` replace the shipped ones, `invariants` come on top of either; `calls`: with probes for
    `call` events.
    """

    script: str
    root: str
    module: str = ""
    rules: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    calls: bool = False

    def rule_paths(self) -> list[Path]:
        """Return the files and folders that hold the rules of this request."""
        rules = [Path(path) for path in self.rules] or [default_rules_folder()]
        return [*rules, *(Path(path) for path in self.invariants)]


@final
@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan; where planning failed for a reason of our own, an empty one, and the `problem`."""

    plan: ProbePlan
    problem: str = ""


def request_for_script(script: str, **others: Any) -> Request:
    """Return the request for a script; raise InputError in one line where there is none."""
    path, where = Path(script), script or repr(script)
    wrong, cure = _no_source(path)
    if wrong:
        expected = "a script (or -m MODULE)"
        raise InputError(input_problem(wrong, where=where, expected=expected, cure=cure))
    try:
        path.open("rb").close()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            input_problem(f"the script cannot be read ({reason})", where=where)
        ) from None
    # Python puts the folder of the script itself, not of a link to it, in front of sys.path.
    real = Path(os.path.realpath(path))
    return Request(str(real), str(real.parent), **others)


def _no_source(path: Path) -> tuple[str, str]:
    """What a path is that cannot be watched as a script, and what to do; '' for a script."""
    if path.is_dir():
        main = path / "__main__.py"
        return "this is a folder", f"name {main}" if main.is_file() else ""
    if path.is_fifo():
        return "this is a pipe, which can be read only once", "write it to a file"
    if _lies_in_a_copy(path):
        return "this lies in a copy by `tcstatic rewrite`", "python runs the copy as it is"
    return _NO_SOURCE.get(path.suffix if path.is_file() else "", ("", ""))


def _lies_in_a_copy(script: Path) -> bool:
    """Whether what runs here is watched already, by the plan that lies beside it."""
    return all(script.with_name(name).is_file() for name in ("_tcstatic.py", "plan.json"))


def request_for_module(module: str, **others: Any) -> Request:
    """Return the request for ``-m MODULE``: found as Python would, but running nothing of it."""
    parts = module.split(".")
    wrong, expected, cure = "no such module", "one that can be imported", ""
    if all(part.isidentifier() for part in parts):
        for folder in dict.fromkeys([os.getcwd(), *sys.path]):
            base = Path(folder or ".", *parts)
            for path in (base / "__main__.py", base.with_name(f"{base.name}.py")):
                if path.is_file():
                    return Request(str(path.absolute()), os.getcwd(), module, **others)
            if (base / "__init__.py").is_file():
                wrong = "this package has no __main__.py to run"
                expected = f"a module of it, such as {module}.train"
                break
    if Path(module).is_file():
        cure = f"without -m, {module!r} is run as a script"
    raise InputError(input_problem(wrong, got=repr(module), expected=expected, cure=cure))


def check_readable(script: str) -> None:
    """Raise InputError, with the line, where Python could not read or parse this script either."""
    from tcstatic.program.source import decode, parse

    parse(decode(Path(script).read_bytes(), script).text, script)


def prepare(request: Request, options: RunOptions) -> Prepared:
    """Return the plan for a request, from the cache or made by a child process.

    Raises InputError where the user's rules or options are wrong; no other failure raises.
    """
    from subprocess import TimeoutExpired

    problem = ""
    plan = ProbePlan(request.root, request.script)
    try:
        # Once: where no cache can be written, each call gives another temporary folder.
        cache = cache_folder()
        entry = cache / "plans" / _key(request)
        plan = _cached(entry) or _planned(request, cache, entry)
    except InputError:
        raise
    except TimeoutExpired:
        problem = f"planning took more than {PLANNING_SECONDS} seconds"
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
    if problem:
        plan = replace(plan, skipped=(Skipped(request.script, f"planning failed: {problem}"),))
    return Prepared(replace(plan, options=options), problem)


def lint(
    request: LintRequest,
    given: tuple[str, ...],
    progress: Progress | None = None,
    *,
    explained: bool = False,
) -> Outcome:
    """Lint the files of a request; `given` is how the command line named them.

    Raises InputError where rules, settings or a baseline are wrong; a file that cannot be read is
    part of the outcome. Writes nothing but the cache, and a baseline that was asked for.
    """
    from tcstatic.lint.linting import lint_projects
    from tcstatic.lint.outcome import outcome_of

    projects = lint_projects(request, progress)
    return outcome_of(given, request.discovered, projects, explained=explained)


def check(folders: Sequence[str], request: Request) -> Report:
    """Judge what was recorded in some folders by the request's rules, as `run` would have.

    Raises InputError where a trace or a rule cannot be read.
    """
    from tcstatic.check.replay import judged
    from tcstatic.report import merge
    from tcstatic.trace import open_trace

    invariants = load_invariants(request)
    runs = [run for folder in folders for run in open_trace(folder).runs]
    reports = [judged(run, invariants, may_hold) for run in runs]
    alone = len(runs) == 1 and runs[0].facts.world_size == 1
    found = reports[0] if alone else merge(reports)
    failed = any(one.severity != "note" for one in found.findings)
    scripts = " ".join(dict.fromkeys(report.script for report in reports))
    return replace(found, script=scripts, exit_status=int(failed))


def make_plan(request: Request, options: RunOptions) -> ProbePlan:
    """Make the plan in this process, which loads yaml and libcst."""
    from tcstatic.rewrite import compile_plan

    return compile_plan(
        Path(request.script),
        Path(request.root),
        load_invariants(request),
        options,
        request.include,
        calls=request.calls,
        may_hold=may_hold,
    )


def may_hold(condition: Condition, values: Values) -> bool:
    """Whether a precondition can hold in a program whose fields have these values only; the solver
    is loaded where nothing cheaper tells, and what it leaves open may be."""
    from tcstatic.invariants.conditions import possible

    told = possible(condition, values)
    if told is not None:
        return told
    from tcstatic.infer.smt import satisfiable

    try:
        return satisfiable(condition, {name: frozenset(one) for name, one in values.items()})
    except Undecided:
        return True


def write_copy(plan: ProbePlan, folder: Path) -> None:
    """Write the instrumented copy of a plan's program; raise InputError where it cannot be."""
    from tcstatic import rewrite

    rewrite.write_copy(plan, folder)


def shown_rewrite(plan: ProbePlan, *, as_diff: bool) -> Iterator[tuple[str, str]]:
    """Yield each rewritten file of a plan: its path, and its new text or what was inserted."""
    from tcstatic.program.source import decode
    from tcstatic.rewrite import instrument

    for file in plan.files:
        path = Path(plan.root, file.path)
        source = path.read_bytes()
        sites = tuple(site for site in plan.sites if site.location.file == file.path)
        outcome = instrument(path, source, sites)
        if isinstance(outcome, Rewritten):
            old, new = decode(source, file.path).text, outcome.text
            yield file.path, _diff(file.path, old, new) if as_diff else new


def _diff(name: str, old: str, new: str) -> str:
    import difflib

    # Not splitlines(), which ends a line at a form feed too.
    before, after = (io.StringIO(text, newline="").readlines() for text in (old, new))
    return "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"))


def load_invariants(request: Request) -> tuple[Invariant, ...]:
    """Return the request's invariants, their parameters checked by their relations."""
    from tcstatic.invariants.relations import check_params
    from tcstatic.invariants.rules import load_rules

    return load_rules(
        request.rule_paths(), select=request.select, ignore=request.ignore, schema=check_params
    )


def _key(request: Request) -> str:
    """The name of the cached plan: a hash over all that planning depends on but the program."""
    parts = {
        "request": asdict(request),
        "rules": rules_hash(request.rule_paths()),
        "version": __version__,
        "program": list(own_files()),
        "python": [sys.version, sys.flags.optimize],
        "path": sys.path if request.include else [],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _cached(entry: Path) -> ProbePlan | None:
    """The plan of a cache entry, if the files it is about are as they were."""
    from tcstatic.runtime.live.planfile import load
    from tcstatic.runtime.live.pruning import used

    try:
        plan = load(entry.with_suffix(".json"))
        absent: list[str] = json.loads(entry.with_suffix(".absent").read_bytes())
    except (PlanError, OSError, ValueError):
        return None
    cache = entry.parents[1]
    if any(map(os.path.lexists, absent)):
        return None
    for file in plan.files:
        if file.code and not used(cache / file.code):
            return None
        try:
            content = Path(plan.root, file.path).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content).hexdigest() != file.source_hash:
            return None
    for suffix in (".json", ".absent"):
        used(entry.with_suffix(suffix))
    return plan


def _keep(entry: Path, request: Request, plan: ProbePlan) -> Path:
    """Write a cache entry: the plan last, because it makes the entry valid."""
    from tcstatic.program.source import absent_candidates
    from tcstatic.runtime.live.planfile import dump

    entry.parent.mkdir(parents=True, exist_ok=True)
    absent = absent_candidates(Path(request.script), Path(request.root), request.include)
    looked_for = json.dumps([str(path) for path in absent])
    write_whole(entry.with_suffix(".absent"), looked_for.encode(), private=True)
    write_whole(entry.with_suffix(".json"), dump(plan).encode(), private=True)
    return entry.with_suffix(".json")


def _planned(request: Request, cache: Path, entry: Path) -> ProbePlan:
    """Ask a child process for the plan; raise what it raises, RuntimeError if it failed."""
    import subprocess

    from tcstatic.runtime.live.planfile import load

    asked = {
        "request": asdict(request),
        "path": sys.path,
        "cache": str(cache),
        "entry": str(entry),
    }
    # -P, and our own folder last: no file of the user's may stand for a module that we need.
    flags = ["-O"] * sys.flags.optimize + ["-P", "-W", "ignore"]
    ran = subprocess.run(
        [sys.executable, *flags, "-c", _CHILD, str(Path(__file__).parents[1])],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PLANNING_SECONDS,
        check=False,
    )
    try:
        answer: Mapping[str, str] = json.loads(ran.stdout)
    except ValueError:
        last = ran.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(last or f"the planning process ended with {ran.returncode}") from None
    if "plan" in answer:
        return load(answer["plan"])
    raise getattr(errors, answer["error"], RuntimeError)(answer["text"])


def _request(fields: Mapping[str, Any]) -> Request:
    """A request that was json: its tuples are lists."""
    values: Any = {name: tuple(v) if type(v) is list else v for name, v in fields.items()}
    return Request(**values)


def child() -> None:
    """Answer one request on stdin with one json object on stdout: a plan's path, or an error."""
    answer_to = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed must not get into the answer
    asked = json.loads(sys.stdin.buffer.read())
    os.environ["TCSTATIC_CACHE"] = asked["cache"]
    request = _request(asked["request"])
    sys.path.extend(path for path in asked["path"] if path not in sys.path)
    try:
        plan = make_plan(request, RunOptions())
        answer = {"plan": str(_keep(Path(asked["entry"]), request, plan))}
        from tcstatic.runtime.live.pruning import prune

        prune(Path(asked["cache"]))
    except InputError as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    except Exception as error:
        answer = {"error": "RuntimeError", "text": f"{type(error).__name__}: {error}"}
    with open(answer_to, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(answer))
