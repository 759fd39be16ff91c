# The one list of habits. `make help` prints it.
PYTHON  ?= python3
VENV    ?= .venv
TORCH   ?= torch==2.13.0
WORKERS ?= 2
MODEL   ?= demo
HOST    ?= 127.0.0.1
PORT    ?= 8000

BIN     := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt $(wildcard csrc/*) $(wildcard csrc/*/*)

.DEFAULT_GOAL := help
.PHONY: help serve chat test lint format clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.installed  ## set up, build, and serve MODEL (the embedded one) on HOST:PORT
	@$(BIN)/gradus serve $(MODEL) --host $(HOST) --port $(PORT)

chat: $(VENV)/.installed  ## set up, build, and chat with MODEL in the terminal
	@$(BIN)/gradus chat $(MODEL)

test: $(VENV)/.installed-dev  ## set up with the test oracles, and run every test, WORKERS files at a time
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev  ## ruff, mypy, clang-format: check only
	$(BIN)/ruff check gradus tests tools
	$(BIN)/ruff format --check gradus tests tools
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cpp' 'csrc/*.h')

format: $(VENV)/.installed-dev  ## rewrite the sources in house style
	$(BIN)/ruff check --fix gradus tests tools
	$(BIN)/ruff format gradus tests tools
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.cpp' 'csrc/*.h')

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find gradus tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gradus needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# PyTorch first and pinned, so that the oracle is the same build everywhere.
$(VENV)/.installed-dev: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed
