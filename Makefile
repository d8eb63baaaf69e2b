# `make repro` runs the pipeline, `make test` the tests; both set up the environment first.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help env repository repro ui test test-all test-quick test-oldest lint lock wheel weights docs

help:
	@echo "make repro       set up, then run every stage that is not up to date (dvc repro)"
	@echo "make ui          open MLflow at the comparison of all runs"
	@echo "make test        set up, then lint, types, the unit tests and one tiny pipeline"
	@echo "make test-all    the same with every case of the pipeline, as continuous integration runs it"
	@echo "make test-quick  the tests that take under a minute together"
	@echo "make test-oldest quick tests with the lowest dependencies that pyproject.toml allows, numpy 1.26 among them"
	@echo "make weights     rebuild the shipped codec, text encoder and CLAP (hours)"
	@echo "make docs        build the documentation as a site: site/index.html, which needs no network"
	@echo "make wheel       build dist/musicgen_lite-….whl"
	@echo "make lock        resolve the dependencies of pyproject.toml into requirements/lock.txt"

env:
	@$(PYTHON) requirements/install.py

# Before the environment is set up, which takes a while.
repository:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "error: $(CURDIR) is no git repository, as which DVC keeps results \
	and experiments; run: git init && git add -A && git commit -m start" >&2; exit 2; }

repro: repository env
	@dvc repro

ui: env
	@musicgen-lite ui

lint: env
	@ruff check .
	@ruff format --check .
	@mypy

test: lint
	@pytest -n auto --maxprocesses 4 -m "not long"

test-all: lint
	@pytest -n auto --maxprocesses 4

test-quick: env
	@pytest -n auto --maxprocesses 4 -m "not slow and not pipeline and not long"

# An environment of its own; pytest and its plugins come newer than the oldest.
test-oldest: env
	@uv venv -q --allow-existing --python python .venv-oldest
	@uv pip install -q --python .venv-oldest/bin/python --resolution lowest-direct -e ".[dev]" "numpy==1.26.4"
	@.venv-oldest/bin/python -m pytest -n auto --maxprocesses 4 -m "not slow and not pipeline" $(addprefix tests/,codec generation models text sources scoring)

weights: env
	@cd pretraining && dvc repro

lock: env
	@uv pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q \
		--all-extras --override requirements/overrides.txt pyproject.toml -o requirements/lock.txt

# The warning is of mkdocs-material, about the next version of MkDocs.
docs: env
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "open $(CURDIR)/site/index.html"

wheel: env
	@rm -rf build  # what an earlier build left there would come along
	@python -m pip wheel -q --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl
