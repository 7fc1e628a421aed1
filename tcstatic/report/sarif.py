"""Findings as SARIF 2.1.0, for code scanning services and editors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from tcstatic import __version__
from tcstatic.model import Edit, Finding, Fix, Invariant, Report, Witness
from tcstatic.report.rulepage import rule_page

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
# Raise it when fingerprints are made otherwise: alerts are told apart by it.
FINGERPRINT: Final = "tcstaticFinding/v1"
_BASE: Final = "%SRCROOT%"
_ABSOLUTE: Final = re.compile(r"/|[A-Za-z]:[\\/]")


def to_sarif(report: Report, rules: Mapping[str, Invariant]) -> str:
    """Return the report as SARIF text; `rules` (by code) give each rule its help.

    Files are named relative to the base of the report, which a service takes for the repository's
    root.
    """
    codes = sorted({one.code for one in report.findings} | (set(rules) & _told(report)))
    numbers = {code: number for number, code in enumerate(codes)}
    run = {
        "tool": {
            "driver": {
                "name": "tcstatic",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(rules[code]) if code in rules else {"id": code} for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            _BASE: {"description": {"text": "The root folder of the repository."}}
        },
        "invocations": [_invocation(report)],
        "results": [_result(one, numbers[one.code]) for one in report.findings],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _told(report: Report) -> set[str]:
    counts = report.invariants
    return {*counts.in_scope, *counts.violated}


def _rule(rule: Invariant) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.name},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n{rule.cure}", "markdown": rule_page(rule)},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": ["correctness", "training"]},
    }


def _invocation(report: Report) -> dict[str, Any]:
    notifications = [
        {
            "level": "error",
            "message": {"text": f"not linted: {reason}"},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(path)}}],
        }
        for path, reason in report.probes.skipped
    ]
    found: dict[str, Any] = {"executionSuccessful": report.exit_status in (0, 1)}
    if report.exit_status is not None:
        found["exitCode"] = report.exit_status
    if notifications:
        found["toolExecutionNotifications"] = notifications
    return found


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    where = finding.where
    text = f"{' '.join(finding.message.split())}\n{finding.cure}".strip()
    found: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": finding.severity,
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(where.file),
                    "region": _region(where.line, where.column, where.end_line, where.end_column),
                },
                "logicalLocations": [{"fullyQualifiedName": where.function}],
            }
        ],
    }
    if finding.fingerprint:
        found["partialFingerprints"] = {FINGERPRINT: finding.fingerprint}
    if finding.witness:
        found["relatedLocations"] = [
            _related(number, link) for number, link in enumerate(finding.witness)
        ]
    if finding.fix is not None:
        found["fixes"] = [_fix(finding.fix)]
    return found


def _related(number: int, link: Witness) -> dict[str, Any]:
    return {
        "id": number,
        "physicalLocation": {
            "artifactLocation": _artifact(link.file),
            "region": {"startLine": max(1, link.line)},
        },
        "message": {"text": link.event},
    }


def _fix(fix: Fix) -> dict[str, Any]:
    files = dict.fromkeys(edit.file for edit in fix.edits)
    safety = "safe" if fix.safe else "unsafe: it changes what training computes"
    return {
        "description": {"text": f"{fix.title} ({safety})"},
        "artifactChanges": [
            {
                "artifactLocation": _artifact(file),
                "replacements": [_replacement(one) for one in fix.edits if one.file == file],
            }
            for file in files
        ],
    }


def _replacement(edit: Edit) -> dict[str, Any]:
    region = _region(edit.line, edit.column, edit.end_line, edit.end_column)
    found: dict[str, Any] = {"deletedRegion": region}
    if edit.text:
        found["insertedContent"] = {"text": edit.text}
    return found


def _region(line: int, column: int, end_line: int, end_column: int) -> dict[str, int]:
    region = {"startLine": line, "startColumn": column}
    if end_line:
        region |= {"endLine": end_line, "endColumn": max(1, end_column)}
    return region


def _artifact(file: str) -> dict[str, str]:
    """A place relative to the repository's root; a file outside of it has none there."""
    # A name that is no text (Linux allows any bytes) is told by its bytes.
    path = os.fsencode(file.replace("\\", "/"))
    if _ABSOLUTE.match(file):
        return {"uri": f"file://{'' if file.startswith('/') else '/'}{quote(path, safe='/:')}"}
    return {"uri": quote(path), "uriBaseId": _BASE}
