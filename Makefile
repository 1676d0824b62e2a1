# What a newcomer types. Each target does what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test lint types bench quality clean

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Regulars needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); set PYTHON=... to name another"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { echo "LightGBM cannot load the OpenMP library; on Debian and Ubuntu: apt-get install libgomp1, on macOS: brew install libomp"; exit 1; }
	@touch $@

demo: install
	$(BIN)/regulars demo $(ARGS)

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.offers
	$(BIN)/python -m benchmarks.offers --speed
	$(BIN)/python -m benchmarks.decisions
	$(BIN)/python -m benchmarks.trees
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.storefront
	$(BIN)/python -m benchmarks.storefront --products 10000,100000,1000000 --inside
	$(BIN)/python -m benchmarks.growth

quality: install
	@test -n "$(DATA)" || { echo "name the folder of outside data: make quality DATA=FOLDER"; exit 1; }
	$(BIN)/python -m benchmarks.quality $(DATA)
	$(BIN)/python -m benchmarks.offer_quality $(DATA)

clean:
	rm -rf $(VENV) .regulars
