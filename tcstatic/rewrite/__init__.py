"""Sites and text -> instrumented text, code and plans. The only room that imports ``libcst``."""

from tcstatic.rewrite.copies import write_copy
from tcstatic.rewrite.instrumenting import compile_instrumented, instrument
from tcstatic.rewrite.plans import compile_plan
from tcstatic.rewrite.selection import every_site, select_sites

__all__ = [
    "compile_instrumented",
    "compile_plan",
    "every_site",
    "instrument",
    "select_sites",
    "write_copy",
]
