"""A report as json, schema ``tcstatic-report/1``; `from_json` gives the same report back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from tcstatic.errors import InputError, input_problem
from tcstatic.model import (
    Edit,
    Finding,
    Fix,
    InvariantCounts,
    Location,
    ProbeCounts,
    Report,
    RuleVerdict,
    Verdict,
    Witness,
)

REPORT_SCHEMA: Final = "tcstatic-report/1"


def to_json(report: Report, *, coverage: Mapping[str, Any] | None = None) -> str:
    """Return the report as json text: strict json, keys in the order of the schema.

    `coverage` says how much of the source a lint has understood: a key that is optional, and not
    part of the report that `from_json` gives back.
    """
    counts, probes = report.invariants, report.probes
    thinned = [{"event": kind, "reason": why} for kind, why in probes.thinned]
    data: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "command": report.command,
        "script": report.script,
        "exit_status": report.exit_status,
        "invariants": {
            "in_scope": list(counts.in_scope),
            "checked": dict(sorted(counts.checked.items())),
            "held": list(counts.held),
            "violated": list(counts.violated),
            "never_triggered": list(counts.never_triggered),
            "out_of_scope": dict(sorted(counts.out_of_scope.items())),
            **({"unseen": dict(sorted(counts.unseen.items()))} if counts.unseen else {}),
        },
        "findings": [finding_data(finding) for finding in report.findings],
        "probes": {
            "installed": probes.installed,
            "events": probes.events,
            "sampled": probes.sampled,
            "disabled": [{"probe": one, "reason": why} for one, why in probes.disabled],
            **({"thinned": thinned} if thinned else {}),
        },
        "ranks": list(report.ranks),
        "incomplete": list(report.incomplete),
        "skipped": [{"path": path, "reason": why} for path, why in probes.skipped],
    }
    if report.verdicts:
        data["verdicts"] = [_verdict(one) for one in report.verdicts]
    if report.silenced:
        data["silenced"] = [finding_data(finding) for finding in report.silenced]
    if coverage is not None:
        data["coverage"] = coverage
    return json.dumps(plain(data), indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> Report:
    """Return the report that `text` holds; raise InputError where it is none of ours."""
    try:
        data = json.loads(text)
        if data["schema"] != REPORT_SCHEMA:
            raise InputError(
                input_problem(
                    "another report schema", got=repr(data["schema"]), expected=REPORT_SCHEMA
                )
            )
        return _report(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            input_problem(f"the text is no report ({reason})", expected=REPORT_SCHEMA)
        ) from None


def finding_data(finding: Finding) -> dict[str, Any]:
    """Return a finding as the json report has it; its witness may hold what json has not."""
    where = finding.where
    optional = {} if finding.fix is None else {"fix": asdict(finding.fix)}
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "message": finding.message,
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "end_line": where.end_line,
        "function": where.function,
        "step": finding.step,
        "epoch": finding.epoch,
        "rank": finding.rank,
        "why": finding.why,
        "cure": finding.cure,
        "precondition": finding.precondition,
        "witness": [
            {
                "file": link.file,
                "line": link.line,
                "event": link.event,
                "step": link.step,
                "rank": link.rank,
                "values": link.values,
            }
            for link in finding.witness
        ],
        "count": finding.count,
        "fingerprint": finding.fingerprint,
        "end_column": where.end_column,
        **optional,
    }


def _verdict(one: RuleVerdict) -> dict[str, Any]:
    return {
        "code": one.code,
        "file": one.file,
        "verdict": one.verdict.name,
        "reason": one.verdict.reason,
        "files": one.times,
    }


def plain(value: Any) -> Any:
    """Return `value` as strict json: what json has not (infinity, foreign objects) becomes text."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(one) for one in value), key=repr)
    return str(value)


def _report(data: Mapping[str, Any]) -> Report:
    counts, probes = data["invariants"], data["probes"]
    return Report(
        command=data["command"],
        script=data["script"],
        exit_status=data["exit_status"],
        invariants=InvariantCounts(
            in_scope=tuple(counts["in_scope"]),
            checked=dict(counts["checked"]),
            held=tuple(counts["held"]),
            violated=tuple(counts["violated"]),
            never_triggered=tuple(counts["never_triggered"]),
            out_of_scope=dict(counts["out_of_scope"]),
            unseen=dict(counts.get("unseen", {})),
        ),
        findings=tuple(map(finding_from, data["findings"])),
        probes=ProbeCounts(
            installed=probes["installed"],
            events=probes["events"],
            sampled=probes["sampled"],
            disabled=tuple((one["probe"], one["reason"]) for one in probes["disabled"]),
            skipped=tuple((one["path"], one["reason"]) for one in data.get("skipped", ())),
            thinned=tuple((one["event"], one["reason"]) for one in probes.get("thinned", ())),
        ),
        ranks=tuple(data.get("ranks", (0,))),
        incomplete=tuple(data.get("incomplete", ())),
        verdicts=tuple(map(_to_verdict, data.get("verdicts", ()))),
        silenced=tuple(map(finding_from, data.get("silenced", ()))),
    )


def finding_from(data: Mapping[str, Any]) -> Finding:
    """Return the finding that json data hold; raise KeyError or TypeError where they do not."""
    where = Location(
        file=data["file"],
        line=data["line"],
        column=data["column"],
        end_line=data["end_line"],
        end_column=data.get("end_column", 0),
        function=data["function"],
    )
    names = "code name severity message why cure step epoch rank precondition count fingerprint"
    witness = tuple(
        Witness(
            file=link["file"],
            line=link["line"],
            event=link["event"],
            step=link["step"],
            rank=link["rank"],
            values={key: _tuples(value) for key, value in link["values"].items()},
        )
        for link in data["witness"]
    )
    fields = {name: data[name] for name in names.split()}
    return Finding(where=where, witness=witness, fix=_to_fix(data.get("fix")), **fields)


def _to_fix(data: Mapping[str, Any] | None) -> Fix | None:
    if data is None:
        return None
    return Fix(data["title"], data["safe"], tuple(Edit(**edit) for edit in data["edits"]))


def _to_verdict(data: Mapping[str, Any]) -> RuleVerdict:
    return RuleVerdict(
        data["code"], Verdict(data["verdict"], data["reason"]), data["file"], data["files"]
    )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
