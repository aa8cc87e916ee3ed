# One verb per chore; each does its own set-up. Needs Python 3.11 or later, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Bytecode is kept out of the tree, and kept: importing Airflow without it costs many seconds each time.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test e2e test-reach test-fabric test-pooled test-page test-charts lint format docs package bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Create .venv with everything, pinned by constraints.txt

# What nearly every process of the tests imports.
COMPILED := airflow alembic anyio antlr4 cadwyn cryptography dagster dagster_graphql dagster_shared exchange_calendars \
	fastapi graphene graphql grpc hypothesis numpy opentelemetry _pytest pandas pendulum psycopg pydantic pygments rich \
	sqlalchemy starlette structlog

# uv installs in seconds what takes pip minutes; pip is the way where uv cannot reach the package index.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "flowctx needs Python 3.11 or later; type: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Setting up .venv (once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all]' --group dev --group docs \
	|| { echo "uv could not; trying pip ..."; \
	     $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --constraint constraints.txt pip && \
	     $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]' --group dev --group docs; }
	@# Once, before several processes that import the same at the same time do it each for itself.
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(foreach name,$(COMPILED),$(VENV)/lib/python*/site-packages/$(name))
	@touch $(READY)

demo: $(READY)  ## Run the example here, on Airflow and on Dagster, and compare
	@$(BIN)/python -m flowctx.examples.demo

# They start many processes, which collect less garbage than they are used to.
test e2e: export PYTHONPATH := $(CURDIR)/tests/startup

test: $(READY)  ## Run the tests (the slow end-to-end ones are in `make e2e`)
	@$(BIN)/python -m pytest -m "not e2e and not types" -n 3 --dist loadfile -q --ignore=tests/e2e --ignore=tests/page

# They mostly wait, hence three at a time; all of them share one Airflow and one Dagster. Other files are not looked at.
e2e: $(READY)  ## Run the slow tests: real schedulers, daemons and web servers, kills, the site
	@$(BIN)/python -m pytest -m e2e -n 3 --dist loadfile -q $$(grep -rl --include='test_*.py' mark.e2e tests)

test-reach: $(READY)  ## Run the adapters' tests, and a real scheduler or daemon, on each engine
	@$(BIN)/python tests/reach $(ENGINE)

test-fabric: $(READY)  ## Run batches on an Airflow with two Celery workers, which are killed
	@$(BIN)/python tests/fabric

test-pooled: $(READY)  ## Run 64 workers, and a batch beside prune, on a ledger behind PgBouncer
	@$(BIN)/python tests/pooled

test-page: $(READY)  ## Open the page of a batch of 100,000 partitions in Chromium, and use it
	@$(BIN)/python -m pytest -q tests/page

test-charts: $(READY)  ## Validate the values of the Kubernetes page: AIRFLOW= and DAGSTER=, each a values.schema.json
	@$(BIN)/python tests/documentation/chart_values.py $(AIRFLOW) $(DAGSTER)

lint: $(READY)  ## Check style, types and the arrows between the modules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -m types -q tests/architecture tests/documentation

format: $(READY)  ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(READY)  ## Build the documentation as a site in .cache/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Built in .cache/site; to read and search it: $(BIN)/python -m http.server --bind 127.0.0.1 -d .cache/site"

package: $(READY)  ## Build wheel and sdist, look into them and install them where nothing else is
	@$(BIN)/python tests/packaging

bench: $(READY)  ## Print measurements side by side
	@$(BIN)/python tests/bench

clean:  ## Remove .venv and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
