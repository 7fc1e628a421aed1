"""Run unittest with some modules rewritten; started as a script, with no tcstatic on its path.

    python rewritten_unittest.py CODE RESULT TEST

CODE holds marshalled code objects by module name, RESULT gets the outcome of each test.
"""

import builtins
import marshal
import sys
import types
from importlib.machinery import PathFinder, SourceFileLoader


class Finder:
    """Let Python find a module, and run rewritten code in it."""

    def __init__(self, codes):
        self.codes = codes

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in self.codes:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = Loader(fullname, spec.origin, self.codes[fullname])
        return spec


class Loader(SourceFileLoader):
    def __init__(self, fullname, path, code):
        super().__init__(fullname, path)
        self.code = code

    def get_code(self, fullname):
        return self.code


def install(code_path):
    """Put probes and rewritten modules in place, before any of these modules is imported."""
    called = [0]

    def hand_on(number, value):
        called[0] += 1
        return value

    names = ("after", "on", "target", "loop")
    builtins._tcstatic = types.SimpleNamespace(**dict.fromkeys(names, hand_on))
    with open(code_path, "rb") as file:
        codes = marshal.load(file)
    sys.meta_path.insert(0, Finder(codes))
    for module in list(sys.modules):
        if module in codes:
            del sys.modules[module]
    return called


def main(code_path, result_path, name):
    called = install(code_path)
    import json
    import unittest

    class Result(unittest.TestResult):
        """Outcomes by test."""

        def __init__(self):
            super().__init__()
            self.outcomes = {}

        def note(self, test, outcome):
            self.outcomes.setdefault(test.id(), []).append(outcome)

        def addSuccess(self, test):
            self.note(test, "passed")

        def addFailure(self, test, err):
            self.note(test, f"failed: {err[1]}")

        def addError(self, test, err):
            self.note(test, f"error: {err[1]!r}")

        def addSkip(self, test, reason):
            self.note(test, "skipped")

        def addExpectedFailure(self, test, err):
            self.note(test, "expected failure")

        def addUnexpectedSuccess(self, test):
            self.note(test, "unexpected success")

    result = Result()
    unittest.defaultTestLoader.loadTestsFromName(name).run(result)
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump({"outcomes": result.outcomes, "called": called[0]}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
