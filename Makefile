# make app     see your own video as tokens, in the browser
# make demo    see a real video tokenized at several lengths and reconstructed
# make test    lint, types and tests
# make reproduce   the paper in miniature, in hours (docs/reproduction.md); `make reproduce --dry-run` lists the steps
# make docs    the pages as a site, in docs/_build/html
# All set up what they need (see setup) and are quick when it is there.

PYTHON ?= python3
BIN := .venv/bin
EXTRAS := dev,train,data,ale,doom,encoders,generator,ray,docs,app
STAMP := .venv/.evatok-setup

.PHONY: setup app demo docs test lint format types pytest

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

docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html

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

include benchmarks/miniature.mk
