"""Findings and counts, as text for a terminal and as json for machines. Standard library only."""

from tcstatic.report.files import check_path, write
from tcstatic.report.jsonform import REPORT_SCHEMA, from_json, to_json
from tcstatic.report.merging import merge
from tcstatic.report.text import finding_block, full_text, named_once, summary

__all__ = [
    "REPORT_SCHEMA",
    "check_path",
    "finding_block",
    "from_json",
    "full_text",
    "merge",
    "named_once",
    "summary",
    "to_json",
    "write",
]
