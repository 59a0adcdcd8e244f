# make app     see your own video as tokens, in the browser
# make demo    see a real video tokenized at several lengths and reconstructed
# make test    lint, types and tests
# All set up what they need (see setup) and are quick when it is there.

PYTHON ?= python3
BIN := .venv/bin
EXTRAS := dev,train,data,ale,doom,encoders,generator,ray,app
STAMP := .venv/.evatok-setup

.PHONY: setup app demo test lint format types pytest

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	$(BIN)/evatok weights
	touch $@

app: setup
	$(BIN)/evatok app

demo: setup
	$(BIN)/evatok demo

test: lint types pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy

pytest: setup
	$(BIN)/pytest
