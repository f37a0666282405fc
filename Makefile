# `make demo` and `make test` set up whatever is missing in .venv first; a second run starts at once.
# PYTHON=... chooses the interpreter that makes .venv.

VENV := .venv/bin/python
export PYTHONUNBUFFERED := 1
# A process for each core, up to eight: each loads torch and the frameworks. TEST_PROCESSES=0 makes none.
TEST_PROCESSES := auto
PYTEST := $(VENV) -m pytest --numprocesses $(TEST_PROCESSES) --maxprocesses 8 --dist loadfile

.PHONY: help setup demo recipe bench check test test-all lint docs clean

help:
	@echo 'make demo      draw street scenes, train a SparseViT detector on them, compare, draw pictures'
	@echo 'make recipe    dense training, adaptation, search and finetuning of a small segmentor, compared'
	@echo 'make bench     measure everything that can be measured on this machine, beside what imports here'
	@echo 'make check     lint and the tests of single modules: the loop while you work, about a minute'
	@echo 'make test      run the quick tests'
	@echo 'make test-all  run every test, with a training step of every config'
	@echo 'make lint      ruff, mypy, import contracts, and no code twice in models and configs'
	@echo 'make docs      build the documentation into build/site'
	@echo 'make setup     only the set-up that the others do when it is missing'
	@echo 'make clean     remove caches and work_dirs, keep .venv and data'

setup:
	@for python in $(PYTHON) python3 python3.12 python3.11 python3.10; do \
	  if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; \
	  then exec $$python tools/set_up.py; fi; \
	done; \
	echo 'No Python 3.10, 3.11 or 3.12 was found: install one, or name it with make PYTHON=/path/to/python.' >&2; \
	exit 1

demo: setup
	@$(VENV) tools/demo.py

recipe: setup
	@$(VENV) tools/recipe.py

bench: setup
	@$(VENV) -m benchmarks.run_all
	@$(VENV) -m benchmarks.performance_page

check: lint
	@$(PYTEST) -m 'not slow and not tools and not docs'

test: setup
	@$(PYTEST) -m 'not slow'

test-all: setup
	@$(PYTEST)

lint: setup
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy
	@.venv/bin/lint-imports --no-logo --no-cache
	@$(VENV) -m pylint --rcfile=pyproject.toml sparsevit_mm/models $$(find configs -name '*.py')

docs: setup
	@NO_MKDOCS_2_WARNING=1 $(VENV) -m mkdocs build --quiet --strict

clean:
	@rm -rf work_dirs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
