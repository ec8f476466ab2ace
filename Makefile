# The verbs of this project; CI calls `test` and `check` and nothing else.
PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.ready

.PHONY: install check test test-slow coverage docs demo clean

install: $(READY)  ## make .venv and install the package with its development tools

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

check: $(READY)  ## lint, format, import layers and types
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/lint-imports
	$(BIN)/mypy

test: $(READY)  ## the fast tests, on all cores (at most six minutes on two); a file's tests stay on one, for what they share
	$(BIN)/python -m pytest -n auto --dist loadscope

test-slow: $(READY)  ## the slow tests too
	$(BIN)/python -m pytest -n auto --dist loadscope -m ''

coverage: $(READY)  ## the fast tests, and which lines and branches of src they run
	$(BIN)/python -m pytest -n auto --dist loadscope --cov

docs: $(READY)  ## build what the documentation takes from the code
	$(BIN)/python docs/build.py

demo: $(READY)  ## show the effect on the packaged learner, and write runs/demo/report.html
	$(BIN)/tapioca demo

clean:  ## remove what the other verbs made
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
