# The list of things one can do here. `make help` prints it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := $(VENV)/.peers
PYTHON27 ?= python2.7
WSTEST := $(VENV)/.wstest
# Unit and property tests first, then what starts whole runtimes, then what has seconds to keep and runs by itself.
JOBS ?= auto
ONLY ?=
SEEDS ?= 50000
FIRST ?= 0
MINUTES ?= 60
FOLDER ?= out/tour
COUNT ?= 1000000
SEED ?= 0

.PHONY: help autobahn fuzz install demo start test check cov bench endurance faults simulation scenarios clean docs gallery golden screenshots tls-scan tour viewer-endurance

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## create .venv from the locked dependencies

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "cannot create $(VENV): on Debian, apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## render the seahorse valley with a live display into out/seahorse.png
	@mkdir -p out
	@$(BIN)/rfm-runtime render seahorse --size 1920x1080 -o out/seahorse.png --force

start: $(STAMP) ## run a runtime in the foreground
	@$(BIN)/rfm-runtime start

test: $(STAMP) ## all tests that run within minutes
	$(BIN)/pytest -q -n $(JOBS) -m "not integration and not slow" tests
	$(BIN)/pytest -q -n $(JOBS) -m "integration and not slow and not alone" tests
	$(BIN)/pytest -q -m "alone and not slow" tests

faults: $(STAMP) ## kill, freeze and starve real processes, the long way too; then 50,000 simulated histories
	$(BIN)/pytest -q -m fault --durations=10 tests
	$(MAKE) simulation

simulation: $(STAMP) ## SEEDS simulated histories of the whole system, from seed FIRST on; failing ones are made small
	$(BIN)/python -P -m rfm_runtime.testing.simulation run --seeds $(SEEDS) --first $(FIRST)

fuzz: $(STAMP) ## COUNT=1000000 hostile inputs for both codecs and the gateway's core, from SEED on; does anything grow?
	$(BIN)/python -P -m tests.fuzz --count $(COUNT) --seed $(SEED)

endurance: $(STAMP) ## a render of MINUTES=60 survives the death of everything
	ENDURANCE_MINUTES=$(MINUTES) $(BIN)/pytest -q -s tests/integration/test_endurance.py

viewer-endurance: MINUTES = 10
viewer-endurance: $(STAMP) ## the viewer for MINUTES=10 beside 10,000 updates a second: frames, their cost, memory
	$(BIN)/python -P loadtests/bench/p12_viewer.py --minutes $(MINUTES)

check: $(STAMP) ## types, lint, import contracts, wheel contents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

cov: $(STAMP) ## coverage, jitted code interpreted
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest -q -n $(JOBS) --cov --cov-report=term-missing:skip-covered -m "not integration and not slow" tests

$(PEERS): requirements/bench.lock $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/bench.lock
	@touch $@

# virtualenv, since Python 2.7 has no venv; the suite's packages stay out of ours.
$(WSTEST): requirements/autobahn.lock $(STAMP)
	@$(PYTHON27) -m pip --version >/dev/null 2>&1 || { echo "a Python 2.7 with pip is needed: make autobahn PYTHON27=/path/to/python2.7"; exit 1; }
	$(PYTHON27) -m pip install --quiet --upgrade --target $(WSTEST).virtualenv virtualenv==20.15.1
	PYTHONPATH=$(WSTEST).virtualenv $(PYTHON27) -m virtualenv --quiet $(WSTEST)
	$(WSTEST)/bin/pip install --quiet --no-deps -r requirements/autobahn.lock
	@touch $@

autobahn: $(WSTEST) ## the outside conformance suite for WebSocket servers (Python 2.7); DOCS=1 for the table in the docs
	$(BIN)/python -P loadtests/autobahn/run.py --wstest $(WSTEST)/bin/wstest $(if $(DOCS),--docs)

bench: $(PEERS) ## measure the targets against their peers; ONLY=P4 for one, DOCS=1 for the table in the docs
	$(BIN)/python -P loadtests/bench/run.py $(if $(ONLY),--only "$(ONLY)") $(if $(DOCS),--docs)

tls-scan: $(STAMP) ## an outside scanner (sslscan) against a server of ours; the table in docs/security.md
	$(BIN)/python -P loadtests/tls_scan.py --docs

docs: $(STAMP) ## write what is made from the code: docs/errors.md, docs/permissions.md, docs/gallery.md
	$(BIN)/rfm-runtime errors --markdown > docs/errors.md.new && mv docs/errors.md.new docs/errors.md
	$(BIN)/rfm-runtime permissions --markdown > docs/permissions.md.new && mv docs/permissions.md.new docs/permissions.md
	$(BIN)/rfm-runtime presets --markdown > docs/gallery.md.new && mv docs/gallery.md.new docs/gallery.md

gallery: docs ## render the pictures of docs/gallery.md
	$(BIN)/rfm-runtime presets --thumbnails docs/gallery --force

tour: $(STAMP) ## every view of the viewer in every theme, state and scale, into FOLDER=out/tour, to be looked at
	$(BIN)/python -P ui/tour.py $(FOLDER)

screenshots: $(STAMP) ## take the pictures of docs/viewer
	$(BIN)/python -P ui/screenshots.py docs/viewer

golden: $(STAMP) ## write one file for each message of this release: tests/data/messages
	$(BIN)/python -m tests.golden

scenarios: $(STAMP) ## which entries of docs/scenarios.md are covered, and where
	@$(BIN)/pytest -q --scenarios --collect-only tests

clean: ## remove everything that can be made again
	rm -rf $(VENV) out build dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
