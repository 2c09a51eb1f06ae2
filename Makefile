# Every target works in a fresh clone: it makes .venv and installs what it needs.
# .venv/.demo, .venv/.test and .venv/.docs remember that this has been done,
# .venv-min/.test that .venv-min has the oldest versions.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MIN := .venv-min

# make demo DATASET=yeast ARGS="--output pictures"
# make test ARGS="-k losses"
DATASET ?=
ARGS ?=

# make fuzz CASES=10000
CASES ?= 2000

STAMPS := $(VENV)/.demo $(VENV)/.test $(VENV)/.docs

.DEFAULT_GOAL := help
.PHONY: help demo test test-min fuzz docs lint format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      train on real data, print scores, draw the label similarities"
	@echo "               (DATASET=NAME: a file of the folder \$$SKCGMVAE_DATA;"
	@echo "                ARGS=...: further arguments of examples/plot_quickstart.py)"
	@echo "make test      lint, run all tests and examples, measure their coverage"
	@echo "               (ARGS=...: arguments of pytest; nothing is measured)"
	@echo "make test-min  run them with the oldest versions, in $(MIN) (ARGS=...)"
	@echo "make fuzz      try $(CASES) new cases of hostile input (CASES=...: so many)"
	@echo "make docs      build the documentation in docs/_build/html"
	@echo "make lint      check style and format"
	@echo "make format    put style and format right"
	@echo "make clean     remove what was built, but not $(VENV) and $(MIN)"
	@echo
	@echo "PYTHON=...     the Python that makes $(VENV) (3.11 or later; now $(PYTHON))"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMPS): $(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -c constraints.txt -e ".[$*]"
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/plot_quickstart.py \
	    $(if $(DATASET),--dataset $(DATASET)) $(ARGS)

# As in tests/conftest.py: threads that wait for each other on a busy machine take many
# times as long.
test test-min fuzz: export OMP_NUM_THREADS ?= 1

# Of a part of the tests the coverage says nothing.
test: lint
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest -n auto --cov --cov-report=
	@$(BIN)/python -m coverage json -q -o - | $(BIN)/python tests/coverage_bars.py
else
	$(BIN)/python -m pytest $(ARGS)
endif

$(MIN)/.test: pyproject.toml constraints-min.txt
	$(PYTHON) -m venv $(MIN)
	$(MIN)/bin/python -m pip install --quiet --disable-pip-version-check \
	    -c constraints-min.txt -e ".[test]"
	@touch $@

test-min: $(MIN)/.test
	$(MIN)/bin/python -m pytest -n auto $(ARGS)

# Tests without a given number of cases try the same 120 each time.
fuzz: $(VENV)/.test
	SKCGMVAE_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest tests/test_fuzz.py $(ARGS)

lint: $(VENV)/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(VENV)/.test
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf build dist docs/_build *.egg-info .coverage .hypothesis .pytest_cache \
	    .ruff_cache
	find skcgmvae tests examples docs -name __pycache__ -type d -prune \
	    -exec rm -rf {} +
