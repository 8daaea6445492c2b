# Every target does its own set-up in a virtual environment; a second run finds it done.
PYTHON   ?= python3
VENV     := .venv
BIN      := $(VENV)/bin
PIP      := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
# As a plain path, which type checkers and editors can follow, not by an import hook.
EDITABLE := --config-settings editable_mode=compat --editable
CORE     := pyproject.toml setup.py $(shell find gicv3 -name '*.py[xd]' -o -name '*.pxi')

.PHONY: help demo linux test lint bench dist model oracle sanitize coverage clean
.DELETE_ON_ERROR:
.SECONDARY:

help:
	@echo "make demo      boot a guest, plug and unplug its vCPUs, show their interrupts"
	@echo "make linux     boot Debian's arm64 kernel on 4 vCPUs, and try it"
	@echo "make test      run the tests"
	@echo "make lint      ruff, mypy and cython-lint"
	@echo "make bench     run the benchmarks"
	@echo "make dist      build dist/: the source archive, and a wheel from it"
	@echo "make model     compare the core with a second implementation, 11 million operations"
	@echo "make oracle    compare the core with QEMU 7.2, 3,000,000 operations"
	@echo "make sanitize  run the tests with AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make coverage  run the tests with line coverage of the core"
	@echo "make clean     remove everything that make has made"

demo: $(VENV)/installed
	$(BIN)/gicv3 demo

test: $(VENV)/installed $(VENV)/group-test
	$(BIN)/python -m pytest

linux: $(VENV)/installed $(VENV)/group-test
	tools/linux-guest build/linux
	$(BIN)/python -m pytest -m 'linux and not slow' tests/test_linux.py tests/test_acpi_linux.py

lint: $(VENV)/installed $(VENV)/group-test $(VENV)/group-lint
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH=$(CURDIR)/$(BIN):$$PATH cython-lint gicv3

bench: $(VENV)/installed $(VENV)/group-bench
	$(BIN)/python -m pytest benchmarks
	$(BIN)/python -m benchmarks.ratios

# The wheel is built from the source archive, so a file that the archive lacks is found here; and in isolation, so a
# requirement that pyproject.toml lacks is too.
dist: $(VENV)/headers $(VENV)/group-test
	rm -rf dist
	$(BIN)/python -m build --quiet --sdist --no-isolation
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist dist/*.tar.gz

model: $(VENV)/installed
	$(BIN)/python -m tests.model.compare --ops 200000

oracle: $(VENV)/installed
	$(BIN)/python -m tests.oracle --ops 1000000 --config ds1-smp1,ds1-smp4,ds0-smp4

# The sanitized build lives in an environment of its own and is not editable: the tree keeps its fast extension.
# Unicorn's generated code is not for AddressSanitizer, so the tests that run guests are left out. A report goes to
# descriptor 2, which pytest must not catch. libstdc++ comes early because matplotlib throws exceptions.
sanitize:
	$(MAKE) --no-print-directory VENV=.venv-sanitize GICV3_BUILD=sanitize EDITABLE= .venv-sanitize/installed .venv-sanitize/group-test
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so.6)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	    .venv-sanitize/bin/pytest --capture=sys -m 'not guest and not oracle and not slow' --ignore tests/test_packaging.py

# Without the stamp the next target builds the fast extension again. A test that fails is no reason not to report.
coverage: $(VENV)/installed $(VENV)/group-coverage
	rm -rf $(VENV)/installed build/temp*-coverage
	GICV3_BUILD=coverage $(BIN)/python setup.py --quiet build_ext --inplace
	-$(BIN)/coverage run -m pytest -m 'not slow and not oracle' --ignore tests/test_packaging.py
	$(BIN)/coverage report
	$(BIN)/python tools/core-coverage

clean:
	rm -rf .venv .venv-* build dist *.egg-info htmlcov .coverage .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find . -name .git -prune -o '(' -name __pycache__ -o -name '*.so' -o -path './gicv3/*.c' ')' -prune -exec rm -rf {} +

# pip 25.1 is the first that reads dependency groups.
$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1'
	touch $@

$(VENV)/headers: $(VENV)/pip tools/python-headers
	tools/python-headers $(VENV)
	touch $@

$(VENV)/group-%: $(VENV)/pip pyproject.toml
	$(PIP) --group $*
	touch $@

$(VENV)/installed: $(VENV)/headers $(VENV)/group-build $(CORE)
	@echo "compiling: a minute or two"
	PYTHONWARNINGS=ignore:Editable $(PIP) --no-build-isolation $(EDITABLE) '.[cli,fdt,unicorn]'
	touch $@
