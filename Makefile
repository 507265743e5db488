# What there is to do with a clone. Every target makes .venv ready first; `make setup` does only that.
#   make demo     the demo: interactive on a terminal, else its scripted tour
#   make test     everything that must hold: lint, types, floors, tests
#   make lint     the first three of these
#   make bench    the benchmarks beside the peers (tests/bench), as Markdown (BENCH_ARGS=--quick)
#   make fuzz     the long fuzzing run (FUZZ_SECONDS)
#   make zips     fetches the archives that Debian's source packages test with (100 MB; 395 are kept, for make test)
#   make soak     the soak test (SOAK_MINUTES, SOAK_ARGS=--workers 64)
#   make docs     the man page and the shells' completions (docs/), from the verbs
#   make clean    removes what the other targets made

VENV ?= .venv
BIN := $(VENV)/bin
# Three at a time on two cores: much of a mount's test is waiting. A file's tests stay together, in order.
# Real services, mounts and signals race with a loaded machine now and then: what fails is tried once more, and told.
PYTEST_ARGS ?= -n 3 --dist loadfile --reruns 1
BENCH_ARGS ?=
FUZZ_SECONDS ?= 600
SOAK_MINUTES ?= 10
SOAK_ARGS ?=

.PHONY: setup test lint format demo bench fuzz zips soak docs clean
.DEFAULT_GOAL := test

$(VENV)/.ready: pyproject.toml constraints.txt .ci/setup
	VENV=$(VENV) .ci/setup

setup: $(VENV)/.ready

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: setup
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/mountfs demo; else exec $(BIN)/mountfs demo --check; fi

bench: setup
	$(BIN)/python -m tests.bench $(BENCH_ARGS)
	$(BIN)/python -m tests.bench.restarts

fuzz: setup
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz $(PYTEST_ARGS)

zips: setup
	$(BIN)/python tests/zipformat/debian.py .zips

soak: setup
	$(BIN)/python -m tests.soak --minutes $(SOAK_MINUTES) $(SOAK_ARGS)

docs: setup
	$(BIN)/python -m mountfs.cli.manual docs

clean:
	rm -rf $(VENV) .zips build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
