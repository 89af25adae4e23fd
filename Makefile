.DEFAULT_GOAL := help
.PHONY: help setup system assets sdks demo lint ruff mypy pyright imports check test uncached unit-suite-uncached \
	model-suite browser-suite prove format bench bench-service bench-revocation scale clean

PYTHON ?= python3
BIN := .venv/bin
# pyright ships its JavaScript in its wheel and Node.js in another; it has no reason to look for more.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

help: ## Show this text
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: .venv/.stamp ## Make .venv with the library and all development tools

.venv/.stamp: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Not in the help: `test` calls it.
system:
	@./.ci/system

demo: setup demo/assets/.stamp ## Run the demo app
	$(BIN)/python -m demo

assets: demo/assets/.stamp sdks

# The page's scripts, with the browser SDK in them. --ignore-scripts: neither package needs its install script.
demo/assets/.stamp: demo/package.json demo/node_modules/.stamp $(wildcard demo/web/*.js demo/web/*.css)
	@npm --prefix demo --silent run build
	@touch $@

demo/node_modules/.stamp: demo/package-lock.json
	@command -v npm >/dev/null || { echo "The demo's page needs npm (with Node.js 18 or newer); see make system" >&2; exit 1; }
	@npm --prefix demo ci --silent --ignore-scripts
	@touch $@

# The real backend SDKs that the core service is tested with.
SDKS := tests/service/sdk

sdks: $(SDKS)/node_modules/.stamp $(SDKS)/python/.venv/.stamp

$(SDKS)/node_modules/.stamp: $(SDKS)/package-lock.json
	@npm --prefix $(SDKS) ci --silent --ignore-scripts
	@touch $@

# Not compiled: most of it is never imported.
$(SDKS)/python/.venv/.stamp: $(SDKS)/python/requirements.txt
	@$(PYTHON) -m venv --clear $(SDKS)/python/.venv
	@$(SDKS)/python/.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r $<
	@touch $@

# The checks at once, as two of them take most of the time.
CHECKS := ruff mypy pyright imports

lint:
	@$(MAKE) --no-print-directory --jobs --output-sync $(CHECKS)

$(CHECKS): setup

ruff:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

mypy:
	$(BIN)/mypy

pyright:
	$(BIN)/pyright --pythonpath $(BIN)/python

imports:
	$(BIN)/lint-imports --no-cache

check: lint ## Format, lint, types, layers, unit tests, and small worlds of the rotation: under a minute
	$(BIN)/python -m pytest tests/unit tests/model/test_explorer.py tests/model/test_machine.py -m "not thorough"

prove: setup ## Explore every state of the rotation, and of four other schemes: under three minutes
	@$(BIN)/python -m tests.model prove

# What pytest-xdist's workers get are parts in order, so that each starts few servers; who is done first takes over.
PYTEST := -m pytest --dist worksteal -m "not browser"
# These reach all of the pure layers. Coverage nearly doubles what they cost, so the others go without.
COVERING := tests/unit tests/integrations tests/remote
# The others wait a good deal, for processes that start, die and come back: so three workers.
# Every verification in all of them is done with and without the cache of verified tokens, and compared.

test: system ## Everything that CI runs, with coverage of the pure layers
	@$(MAKE) --no-print-directory --jobs --output-sync assets $(CHECKS)
	$(BIN)/coverage erase
	$(BIN)/coverage run $(PYTEST) -n 2 $(COVERING)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python $(PYTEST) -n 3 $(COVERING:%=--ignore=%) --ignore=tests/model
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=line model-suite browser-suite unit-suite-uncached

uncached: setup system assets ## Every test with no access token remembered (some 15 minutes)
	$(BIN)/python $(PYTEST) -n 3 --no-token-cache --ignore=tests/model
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line WITHOUT=--no-token-cache model-suite browser-suite

# The browser's tests wait for tokens to run out, the others do not: so all at once.
unit-suite-uncached:
	$(BIN)/python $(PYTEST) -n 2 --no-token-cache tests/unit tests/integrations

model-suite:
	$(BIN)/python $(PYTEST) -n 1 $(WITHOUT) tests/model

browser-suite:
	$(BIN)/python -m pytest -m browser $(WITHOUT) tests/browser tests/docs tests/test_servers.py

format: setup ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: ## Measure verifications, requests and memory beside nine peers, in an environment of its own (some 11 minutes)
	$(PYTHON) bench/verify.py
	$(PYTHON) bench/instructions.py
	$(PYTHON) bench/serve.py

bench-service: setup ## Measure `tallystick serve` on SQLite and PostgreSQL (some six minutes)
	$(BIN)/python bench/service.py

bench-revocation: setup ## Measure how soon a revoked session is refused everywhere, with a million on four stores (some four minutes)
	$(BIN)/python bench/revocation.py

scale: setup ## Measure every store with up to a million sessions, and beside pgbench (some ten minutes)
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/storing.py

clean: ## Remove .venv, caches and build output
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* build dist
