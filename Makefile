# Every target does its own set-up in .venv; a second run finds it done.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CORE   := pyproject.toml setup.py $(shell find gicv3 -name '*.py[xd]' -o -name '*.pxi')

.PHONY: demo test lint bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/gicv3 demo

test: $(VENV)/installed $(VENV)/group-test
	$(BIN)/python -m pytest

lint: $(VENV)/group-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cython-lint gicv3

bench: $(VENV)/installed $(VENV)/group-bench
	$(BIN)/python -m pytest benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find gicv3 -name '*.so' -delete -o -name '*.c' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip 25.1 is the first that reads dependency groups.
$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1'
	touch $@

$(VENV)/group-%: $(VENV)/pip pyproject.toml
	$(PIP) --group $*
	touch $@

$(VENV)/installed: $(VENV)/group-build $(CORE)
	$(PIP) --no-build-isolation --editable '.[cli,unicorn]'
	touch $@
