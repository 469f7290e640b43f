# Two commands need nothing but Python and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PAGES := isthmus-demo

.PHONY: demo test test-long check page format wheel clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)  ## train on data bundled with scikit-learn, write a model folder and a report
	$(BIN)/isthmus demo -o $(PAGES)

test: $(READY)  ## the whole test-suite but for the long checks
	$(BIN)/python -m pytest -n 2 -q

test-long: $(READY)  ## the checks that take minutes
	$(BIN)/python -m pytest -q -m long

check: $(READY)  ## style, types and the shape of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/test_architecture.py

page:  ## check the explorer page (Node 20), and build it into src/isthmus/web/static
	cd web && npm ci && npm run check && npm test && npm run build

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(READY)  ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(PAGES) dist build
