# Two commands matter: `make demo` and `make test`. Each sets itself up; a second call installs nothing.
# 3.11 where it is: pinned torch may come as a CPU build for it alone, and a newer Python would bring gigabytes.
PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3.13,$(if $(shell command -v $(python)),$(python))) python3.11)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export TEMPER_HOME ?= $(CURDIR)/.temper

.PHONY: demo test dev check format setup

demo: setup ## the whole graph on a real model and real data
	@$(BIN)/python -m orchestration run demo

dev: setup ## Dagster UI with pages, and MLflow UI, on loopback, on the state that `make demo` wrote
	@$(BIN)/python -m orchestration dev

test: setup ## all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup ## lint, types, import direction, recipes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m orchestration check

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
