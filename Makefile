PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
# Bytecode is written when a module is first imported: for all of torch ahead it takes half a minute.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.DEFAULT_GOAL := test
.PHONY: setup demo test test-slow check format man docs docs-outputs bench clean

setup: $(READY)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing charlm and what it needs (torch among it) into $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(READY): $(INSTALLED)
	@echo "installing what tests and docs need into $(VENV)"
	$(INSTALL) -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## one minute of training on a text that every Python carries, then 500 characters
	mkdir -p demo
	$(BIN)/charlm corpus cat python-docs > demo/text.txt
	$(BIN)/charlm prep demo/text.txt -o demo/corpus --force
	$(BIN)/charlm train demo/corpus -o demo/run --budget 60s --force
	$(BIN)/charlm sample demo/run --length 500 --temperature 0.7

test: $(READY)  ## everything that a change can break, quick: a worker on each core
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(READY)  ## learning, soak, kills, pages that train, browsers, torchrun
	$(BIN)/python -m pytest -n auto -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

man: $(READY)  ## the man pages in charlm/man, from the help
	$(BIN)/python tools/man_pages.py

docs: $(READY)  ## the site, in site/; a warning ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-outputs: $(READY)  ## runs every command of the site and writes its output into the pages
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/docs_pages.py demo/docs

bench: $(READY)
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) demo site dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
