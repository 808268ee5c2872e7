# Each command sets up what it needs in a virtual environment of its own and then does its work.
# They need Python >= 3.11 and a network to install from, nothing else.
#
#   make unit ARGS=tests/test_frames.py     one file of unit tests; without ARGS all but the slow
#   make quick                              linters, types, and the unit tests: what fails fast
#   make test                               all tests of the library, with the coverage of pgproto/ by the unit tests
#   make demo | check | bench | budget | wheel | clean
#   make docs                               the documentation site, in build/site, with all its checks
#   make sim | power | promise | faults | chaos | storm | fuzz | mutants     the long runs: see docs/testing.md
#   make ecosystem                          what the dialects and DB-API are tested with: Alembic, pandas, polars, petl; the service
#   make sqlalchemy                         SQLAlchemy's own tests with our dialects; ARGS=--chosen for a part of them
#   make django                             Django's own tests on that; ARGS=--chosen for a part of them
#   make psycopg                            psycopg on pgproto beside psycopg on libpq
#   make test PYTHON=python3.12             another interpreter, another environment
#   make test BUILD=compiled                the build that mypyc makes of the same source
#   make test ARGS="tests/test_layers.py"   arguments for pytest (coverage is then not enforced)

PYTHON ?= python3
BUILD ?= pure
WORKERS ?= 2
# Units compute, and each worker collects them all: more workers than cores make that longer.
CORES ?= $(shell nproc 2>/dev/null || echo 2)
ARGS ?=
# On Linux, where the C compiler is GCC, the compiled build is optimised by a profile: it takes twice as long.
PROFILE ?= $(if $(filter Linux,$(shell uname)),1)

ifeq ($(origin PYTHON),file)
VENV := .venv
else
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
# The unit tests alone run every line and branch of pgproto/; the others are not slowed down by being traced.  Tracing makes
# units two and a half times as slow: `quick` does without.
UNITS := tests/test_*.py
COVERED := $(UNITS) --cov --cov-report=term-missing:skip-covered --cov-fail-under=100
OTHERS := $(addprefix tests/,adapters chaos columns command_line corpus dbapi embedding faults fuzz hostile otel postgres promise sim types)
# These need other libraries than the rest: an environment with the extra `ecosystem`.
ECOSYSTEM := tests/dbapi/test_users.py tests/service tests/sqlalchemy_dialect
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist worksteal
UNITTEST = $(PYTEST) -n $(CORES)

# The compiled build, unpacked, beside its wheel and what that was made of: it must come before the checkout
# wherever Python looks, in the processes that tests start too, and the current directory must not come before it.
COMPILED := build/compiled-$(notdir $(VENV))
ifeq ($(BUILD),compiled)
export PYTHONSAFEPATH := 1
export PYTHONPATH := $(CURDIR)/$(COMPILED):$(CURDIR)
COVERED := $(UNITS)
# The matrix compares outcomes with those of other drivers; the compiled ones are chaos' and the simulation's to judge.
# The other tests that are left out ask for nothing that compiling could change.
OTHERS := $(filter-out tests/faults tests/command_line tests/otel,$(OTHERS))
PYTEST += $(addprefix --ignore=tests/,adapters/test_conformance_on_15.py postgres/test_pytest_plugin.py postgres/test_support.py)
PYTEST += --import-mode=append -o 'pythonpath=$(COMPILED) .'
endif
export PGPROTO_BUILD := $(BUILD)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo unit quick test check lint bench budget built wheel sim power promise faults chaos storm fuzz mutants ecosystem sqlalchemy psycopg django clean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed-demo
	$(BIN)/python -m demo $(ARGS)

# The rest runs even if a unit test has failed: whoever repeats what failed must not skip what never ran.
test: $(VENV)/.installed-test $(if $(filter compiled,$(BUILD)),$(COMPILED)/.unpacked)
	$(if $(ARGS),$(PYTEST) $(ARGS),units=0; $(UNITTEST) $(COVERED) || units=$$?; $(PYTEST) $(OTHERS) && exit $$units)

# psycopg on pgproto: every answer beside that of libpq, and the libraries on top of it.
psycopg: $(VENV)/.installed-psycopg-test
	$(PYTEST) --dist loadscope $(or $(ARGS),tests/psycopg)

django: $(VENV)/.installed-psycopg-test
	$(BIN)/python -m scripts.django_tests $(ARGS)

# What fails fast; `test` is the rest.
quick: lint unit

# `make unit ARGS=tests/test_frames.py` is the shortest way to a test: hardly a unit needs a server.
unit: $(VENV)/.installed-$(if $(ARGS),unit,test)
	$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),$(UNITTEST) -m "not slow" $(UNITS))

# The rules of the house are units; `quick` runs them with the others.
check: lint
	$(PYTEST) tests/test_layers.py tests/test_purity.py tests/test_exports.py tests/test_house_rules.py

lint: $(VENV)/.installed-check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/.installed-bench $(COMPILED)/.unpacked
	$(BIN)/python -m benchmarks --compiled $(COMPILED) $(ARGS)

# The site of the documentation: no warning, no broken link, no public name that is missing; and those of its examples
# that need other libraries.
.PHONY: docs
docs: $(VENV)/.installed-docs
	$(BIN)/python scripts/site.py $(ARGS)
	$(BIN)/python -m pytest tests/test_site.py tests/postgres/test_readme_examples.py

# Instructions of the hot paths against benchmarks/budget.json; it needs valgrind.
budget: $(COMPILED)/.unpacked
	$(BIN)/python -m benchmarks.budget --compiled $(COMPILED) $(ARGS)

# The compiled build and no more.
built: $(COMPILED)/.unpacked

# The source distribution, and both wheels made out of it.
wheel: $(VENV)/.installed-wheel $(COMPILED)/.unpacked
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	cp $(COMPILED)/*.whl dist

sim: $(VENV)/.installed-test
	$(BIN)/python -m tests.sim --jobs $(WORKERS) $(or $(ARGS),--seeds 200000)

power: $(VENV)/.installed-test
	$(BIN)/python -m tests.sim.planted --jobs $(WORKERS) $(ARGS)

promise: $(VENV)/.installed-test $(if $(filter compiled,$(BUILD)),$(COMPILED)/.unpacked)
	$(BIN)/python -m tests.promise --jobs $(WORKERS) $(ARGS)

faults: $(VENV)/.installed-faults
	$(BIN)/python -m tests.faults $(ARGS)

chaos: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos $(or $(ARGS),--kills 200)
	$(if $(ARGS),,$(BIN)/python -m tests.chaos.inserts)

storm: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos.cancellations $(ARGS)

fuzz: $(VENV)/.installed-fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

mutants: $(VENV)/.installed-test
	$(BIN)/python -m tests.mutation --jobs $(WORKERS) $(or $(ARGS),--seconds 3 --fail-under 85)

ecosystem: $(VENV)/.installed-ecosystem
	$(if $(ARGS),$(PYTEST) $(ARGS),$(PYTEST) $(ECOSYSTEM))

sqlalchemy: $(VENV)/.installed-ecosystem
	$(BIN)/python -m tests.sqlalchemy_dialect $(ARGS)

clean:
	rm -rf .venv .venv-* build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is tested is what comes out of the source distribution, as for those who install from that.
$(COMPILED)/.unpacked: $(shell find pgproto transports integrations -name '*.py') hatch_build.py pyproject.toml \
		benchmarks/training.py benchmarks/counted.py \
		| $(VENV)/.installed-wheel
	rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	HATCH_BUILD_HOOKS_ENABLE=1 PGPROTO_PROFILE=$(PROFILE) $(BIN)/python -m build --outdir $(COMPILED) .
	cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m zipfile -e pgproto-*.whl .
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pgproto needs Python >= 3.11, which $(PYTHON) is not; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras, newer than pyproject.toml: a second run installs nothing.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
