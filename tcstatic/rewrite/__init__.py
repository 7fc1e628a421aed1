"""Sites and text -> instrumented text, code and plans. The only room that imports ``libcst``."""

from tcstatic.rewrite.instrumenting import compile_instrumented, instrument
from tcstatic.rewrite.selection import every_site, select_sites

__all__ = ["compile_instrumented", "every_site", "instrument", "select_sites"]
