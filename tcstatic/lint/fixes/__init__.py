"""Findings -> fixes as data: a rule's ``fix:`` names one of these."""

from tcstatic.lint.fixes.registry import FIXES, FixKind, fix_for

__all__ = ["FIXES", "FixKind", "fix_for"]
