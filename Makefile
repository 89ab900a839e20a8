.DEFAULT_GOAL := help
.PHONY: demo check test test-faults budgets lint style types bench floors nightly containers docs pictures up down system env vllm servers lock clean help
ARGS ?=
WORKERS ?= 3
PYTEST = .venv/bin/pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
DAY := $(shell date +%F)
TOGETHER = $(MAKE) --no-print-directory -j4
export PYTHONDONTWRITEBYTECODE :=# hundreds of processes import what one of them has compiled

demo: env  ## The whole chain on a small sample world, end to end
	@.venv/bin/kale demo $(ARGS)

check: lint  ## Lint, then the tests that need no server; two minutes
	@$(PYTEST) -m "not server and not slow" $(ARGS)

test:  ## Lint, then all but the nightly tests, and most faults, against real servers; ARGS="tests/lake -k commit" runs some
	@$(TOGETHER) lint vllm servers
	@$(PYTEST) -m "not nightly and not further" --budgets $(ARGS)

test-faults: vllm servers  ## The faults of docs/operations.md on real processes and servers; under 20 minutes
	@$(PYTEST) -m "fault and not nightly" $(ARGS)

budgets: vllm servers  ## Run every test and write what each file took to tests/budgets.yaml
	@$(PYTEST) -m "not nightly and not further" --write-budgets

lint: style types  ## Style, types, layers, unused code, spelling

types: env
	@.venv/bin/mypy kale_tasks $(wildcard dags/*.py plugins/*.py)

style: env
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/python scripts/unused
	@git ls-files -z | xargs -0 .venv/bin/codespell

bench: env vllm  ## Every measurement in bench/, one after the other; writes bench/*.md and bench/results/<date>.json
	@scripts/bench-env
	@for script in $(filter-out $(addprefix bench/,frame.py floors.py quotes.py results.py scale.py __init__.py),$(wildcard bench/*.py)); do \
	    echo "== $$script"; .venv/bin/python -m bench.$$(basename $$script .py) || exit; done
	@.venv/bin/python -m bench.results

floors: env  ## Compare the tables in bench/ with bench/floors.yaml; FLOORS=run measures again first
	@.venv/bin/python -m bench.floors $(if $(filter run,$(FLOORS)),--run)

nightly: vllm servers  ## The longest tests and all floors, measured again; the log goes to bench/nightly
	@scripts/stamps
	@scripts/bench-env
	@mkdir -p bench/nightly
	@.venv/bin/kale demo --folder .cache/demo --no-stay
	@DEMO_FOLDER=.cache/demo OPERATION_SEQUENCES=300 OPERATIONS_LOG=bench/nightly/$(DAY)-operations.log HOSTILE_ANSWERS=100000 FETCH_CHUNKS=64 BACKFILL_KEYS=10 BACKFILL_KILLS=60 bash -o pipefail -c '{ .venv/bin/pytest -m nightly $(ARGS) \
	    && CHAIN_KEYS=3 HOSTILE_INPUTS=5000 .venv/bin/pytest tests/e2e/chain tests/images/test_fuzz.py tests/attacks/test_parsers.py \
	    && .venv/bin/python -m bench.floors --run; } 2>&1 | tee bench/nightly/$(DAY).log'

containers: env  ## docker-compose.yml in a real engine: the chain, faults, several hosts, restore, upgrade; ARGS="chain faults"
	@scripts/system test
	@mkdir -p bench/nightly
	@bash -o pipefail -c 'scripts/containers $(ARGS) 2>&1 | tee bench/nightly/$(DAY)-containers.log'

docs: env  ## The documents as a site, in site/; a broken link is an error
	@DOCS_PICTURES=1 NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet

pictures: env  ## Screenshots and terminal recordings of the documents, from real runs
	@scripts/system test
	@.venv/bin/python scripts/pictures
	@.venv/bin/python scripts/page_pictures

up: env  ## Airflow with the Dags, the pages and a scheduler on this machine
	@.venv/bin/kale up $(ARGS)

down:  ## Stop what `make up` started
	@.venv/bin/kale down

system:
	@scripts/system

env: system  ## The Python environment and Java; secrets for docker-compose.yml
	@scripts/env
	@scripts/dotenv

vllm: env  ## vLLM for CPUs in an environment of its own
	@scripts/vllm

servers: system  ## The servers and the browser that tests start
	@scripts/system test
	@scripts/ceph

lock:  ## Update lock/ for pyproject.toml; ARGS=--upgrade moves every version
	@scripts/lock $(ARGS)

clean:  ## Remove the environments and caches; the lake is kept
	rm -rf .venv .venv-vllm .venv-bench .venv-bench-juicer .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache site

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
