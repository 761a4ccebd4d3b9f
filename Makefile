# Two commands matter: `make demo` and `make test`. Each sets itself up; a second call installs nothing.
# 3.11 where it is: pinned torch may come as a CPU build for it alone, and a newer Python would bring gigabytes.
PYTHON ?= $(shell for v in 3.11 3.12 3.13; do python$$v -c '' 2>/dev/null && echo python$$v && exit; done; echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export TEMPER_HOME ?= $(CURDIR)/.temper

.PHONY: demo test dev check quick pythons mutants format setup

demo: setup ## the whole graph on a real model and real data
	@$(BIN)/python -m orchestration run demo

dev: setup ## Dagster UI with pages, and MLflow UI, on loopback, on the state that `make demo` wrote
	@$(BIN)/python -m orchestration dev

test: setup ## all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Files of tests that take under a second each and need no torch; --durations says which has grown slow.
QUICK := tests/lineage tests/test_specs.py tests/assets/test_checks.py tests/assets/test_handles.py \
	$(patsubst %,tests/recipes/test_%.py,back_ends_and_judges frozen_suites load mixtures power) \
	$(patsubst %,tests/corpora/test_%.py,answers blocks clean conservation corpus_tasks evaluation_items exact \
	feedback formats generated json_row judgements lines packing permutation progress pypi repeats selection shares \
	shingles tool_calls tool_text trees) \
	$(patsubst %,tests/evaluation/test_%.py,compare health report statistics strata suite)

quick: check ## the checks, and the tests that take under a second
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=3 --durations-min=1 $(QUICK)

check: setup ## lint, types, import direction, recipes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m orchestration check

pythons: ## the tests that need no torch, on every supported Python that is on PATH or that pyenv has
	@tests/pythons 3.11 3.12 3.13

mutants: setup ## how many small changes to gate, registry, store, … the tests notice (an hour; AREAS="store ledger" takes some)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[mutants]'
	@$(BIN)/python -m tests.mutants --jobs 2 $(AREAS)

format: setup ## and the schema of recipes that editors read
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m orchestration schema -o recipes/recipe.schema.json

setup: $(STAMP)

# pip, not uv or poetry: pip's own configuration decides where torch comes from (a CPU build or a CUDA build).
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Temper needs Python 3.11, 3.12 or 3.13: '$(PYTHON)' is not on PATH; set PYTHON=…"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
