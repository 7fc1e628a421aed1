"""``plan.json``: one compiled plan on disk, of one version, checked against its own hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tcstatic import __version__
from tcstatic.errors import PlanError, input_problem
from tcstatic.model import (
    PLAN_SCHEMA,
    Blame,
    Fact,
    Invariant,
    Location,
    PlannedFile,
    ProbePlan,
    RunOptions,
    Site,
    Skipped,
    Suppression,
    Unprobed,
    Verdict,
)

# The one key that marks a tuple: json knows lists only, and a monitor may need to hash a value.
TUPLE = "tuple"


def dump(plan: ProbePlan) -> str:
    """Return the text of ``plan.json``.

    Examples of invariants are left out: they are whole scripts, and no run needs them.
    """
    body = {
        "root": plan.root,
        "script": plan.script,
        "sites": [asdict(site) for site in plan.sites],
        "invariants": [_plain_invariant(invariant) for invariant in plan.invariants],
        "out_of_scope": {code: asdict(verdict) for code, verdict in plan.out_of_scope},
        "files": [asdict(file) for file in plan.files],
        "skipped": [asdict(skipped) for skipped in plan.skipped],
        "options": asdict(plan.options),
        "unprobed": _by_reason(plan.unprobed),
        "assumed": [asdict(fact) for fact in plan.assumed],
    }
    if plan.libraries:
        body["libraries"] = list(plan.libraries)
    if plan.suppressions:
        body["suppressions"] = [asdict(one) for one in plan.suppressions]
    head = {"schema": PLAN_SCHEMA, "version": __version__, "sha256": _digest(body)}
    return json.dumps({**head, "plan": body}, indent=1) + "\n"


def load(path: str | Path) -> ProbePlan:
    """Read a plan; raises PlanError where it is missing, damaged, or of another version."""
    where = str(path)
    cure = "make it again with `tcstatic rewrite` or `tcstatic run`"
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise PlanError(input_problem("no plan can be read", where=where, got=got)) from None
    except ValueError as error:
        raise PlanError(
            input_problem("not a plan", where=where, got=str(error), cure=cure)
        ) from None
    if not isinstance(content, dict) or content.get("schema") != PLAN_SCHEMA:
        problem = input_problem("not a plan", where=where, expected=PLAN_SCHEMA, cure=cure)
        raise PlanError(problem)
    if content.get("version") != __version__:
        got = f"tcstatic {content.get('version')}"
        raise PlanError(
            input_problem(
                "made by another version", where=where, got=got, expected=__version__, cure=cure
            )
        )
    body = content.get("plan")
    if not isinstance(body, dict) or content.get("sha256") != _digest(body):
        raise PlanError(
            input_problem("the plan was changed after it was made", where=where, cure=cure)
        )
    return _plan(body)


def _plan(body: dict[str, Any]) -> ProbePlan:
    options = body["options"]
    return ProbePlan(
        root=body["root"],
        script=body["script"],
        sites=tuple(_site(fields) for fields in body["sites"]),
        invariants=tuple(_invariant(fields) for fields in body["invariants"]),
        out_of_scope=tuple((code, Verdict(**said)) for code, said in body["out_of_scope"].items()),
        files=tuple(PlannedFile(**fields) for fields in body["files"]),
        skipped=tuple(Skipped(**fields) for fields in body["skipped"]),
        options=RunOptions(**{**options, "reports": tuple(options["reports"])}),
        unprobed=tuple(
            Unprobed(file, line, column, probe, kind, reason)
            for reason, sites in body["unprobed"].items()
            for file, line, column, probe, kind in sites
        ),
        assumed=tuple(
            Fact(one["reason"], tuple(one["words"]), one["field"], tuple(one["values"]))
            for one in body["assumed"]
        ),
        libraries=tuple(body.get("libraries", ())),
        suppressions=tuple(
            Suppression(**{**fields, "words": tuple(fields["words"])})
            for fields in body.get("suppressions", ())
        ),
    )


def _by_reason(sites: tuple[Unprobed, ...]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for one in sites:
        fields = (one.file, one.line, one.column, one.probe, one.kind)
        found.setdefault(one.reason, []).append(fields)
    return found


def _site(fields: dict[str, Any]) -> Site:
    return Site(**{**fields, "location": Location(**fields["location"])})


def _plain_invariant(invariant: Invariant) -> dict[str, Any]:
    fields = {name: getattr(invariant, name) for name in Invariant.__dataclass_fields__}
    fields.update(
        params=_packed(dict(invariant.params)),
        blame=[asdict(blame) for blame in invariant.blame],
        explains=list(invariant.explains),
        feeds=list(invariant.feeds),
        references=list(invariant.references),
    )
    # What a run does not need.
    del fields["examples"], fields["support"]
    return fields


def _invariant(fields: dict[str, Any]) -> Invariant:
    known = {
        **fields,
        "params": _unpacked(fields["params"]),
        "blame": tuple(Blame(**blame) for blame in fields["blame"]),
        "explains": tuple(fields["explains"]),
        "feeds": tuple(fields["feeds"]),
        "references": tuple(fields["references"]),
    }
    return Invariant(**known)


def _packed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _packed(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_packed(part) for part in value]}
    if isinstance(value, list):
        return [_packed(part) for part in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {TUPLE}:
            return tuple(_unpacked(part) for part in value[TUPLE])
        return {key: _unpacked(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_unpacked(part) for part in value]
    return value


def _digest(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
