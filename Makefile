# Every target sets up .venv by itself, on a machine with make, python3 (3.11 or newer) and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Tests and demo are many small processes: one thread each.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench mutation causes clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv with the pinned development set

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tcstatic needs Python 3.11 or newer, this is %d.%d; set PYTHON=..." % sys.version_info[:2])'
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the development set (once; PyTorch is the large part)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)  ## watch a healthy script, then one that trains nothing
	@echo "1. A healthy script: a small CNN on scikit-learn's digits. Expect its own output and no finding."
	@echo "\$$ tcstatic run fixtures/scripts/digits_cnn/train.py"
	@$(BIN)/tcstatic run fixtures/scripts/digits_cnn/train.py
	@echo
	@echo "2. A script whose loss stays flat: nothing crashes, and nothing is trained. Expect one error that names the line to mend."
	@echo "\$$ tcstatic run fixtures/stories/flat_loss/bad.py"
	@$(BIN)/tcstatic run fixtures/stories/flat_loss/bad.py

test: check  ## check, then all tests
	$(BIN)/python -m pytest -q -n 2 tests --ignore=tests/benchmarks

check: $(READY)  ## lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## print the slow-down of a watched run
	$(BIN)/python -m tests.benchmarks

mutation: $(READY)  ## break healthy programs in hundreds of ways, and print what is found
	$(BIN)/python -m tests.benchmarks.injecting

causes: $(READY)  ## run programs with one fault each, and count where the line to mend comes first
	$(BIN)/python -m tests.benchmarks.causes

clean:  ## remove .venv, caches and build outputs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find tcstatic tests -name __pycache__ -type d -prune -exec rm -rf {} +
