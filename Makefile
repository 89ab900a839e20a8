.DEFAULT_GOAL := help
.PHONY: demo test lint bench up down env vllm lock clean help
ARGS ?=

demo: env  ## The whole chain on a small sample world, end to end
	@.venv/bin/kale demo $(ARGS)

test: lint vllm  ## Lint, then every test against real servers; ARGS="tests/lake -k commit" runs some
	@scripts/system test
	@scripts/ceph
	@.venv/bin/pytest $(ARGS)

lint: env  ## ruff and mypy --strict
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy kale_tasks $(wildcard dags/*.py plugins/*.py)

bench: env vllm  ## Every measurement in bench/, one after the other
	@scripts/bench-env
	@for script in $(wildcard bench/*.py); do echo "== $$script"; .venv/bin/python -m bench.$$(basename $$script .py); done

up: env  ## Airflow with the Dags, the pages and a scheduler on this machine
	@.venv/bin/kale up $(ARGS)

down:  ## Stop what `make up` started
	@.venv/bin/kale down

env:  ## The Python environment and Java, all that a run needs; secrets for docker-compose.yml
	@scripts/system
	@scripts/env
	@scripts/dotenv

vllm: env  ## vLLM for CPUs in an environment of its own
	@scripts/vllm

lock:  ## Resolve the dependencies anew into lock/
	@scripts/lock

clean:  ## Remove the environments and caches; the lake stays
	rm -rf .venv .venv-vllm .venv-bench .venv-bench-juicer .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile
