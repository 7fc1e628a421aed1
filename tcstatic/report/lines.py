"""Findings as one line each: for people and editors (concise), and for GitHub's annotations."""

from __future__ import annotations

from typing import Final

from tcstatic.model import Finding

_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


def concise_line(finding: Finding) -> str:
    """Return ``file:line:column: CODE message``."""
    where = finding.where
    message = " ".join(finding.message.split())
    return f"{shown(where.file)}:{where.line}:{where.column}: {finding.code} {message}"


def shown(text: str) -> str:
    """Return a file's name as it can be printed on one line: what cannot, is escaped."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def github_line(finding: Finding) -> str:
    """Return the command that makes GitHub show the finding beside the changed lines."""
    where = finding.where
    fields = {
        "title": f"tcstatic ({finding.code} {finding.name})",
        "file": shown(where.file),
        "line": str(where.line),
        "col": str(where.column),
    }
    if where.end_line:
        fields |= {"endLine": str(where.end_line), "endColumn": str(where.end_column)}
    text = f"{shown(where.file)}:{where.line}:{where.column}: {finding.code} {finding.message}"
    if finding.cure:
        text += f" (cure: {finding.cure})"
    about = ",".join(f"{name}={_property(value)}" for name, value in fields.items())
    return f"::{_COMMANDS[finding.severity]} {about}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
