# The tasks of a developer, one word each. All of them work without make: CONTRIBUTING.md shows how.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
SETUP := setup.cfg pyproject.toml constraints.txt

# The version of the Python in .venv; empty if it is too old, is gone, or was replaced by another one.
HELD := $(shell $(BIN)/python -c 'import pip, sys; sys.version_info >= (3, 11) and print(*sys.version_info[:2])' 2>/dev/null)
# The version that the command line asks for, as in make serve PYTHON=python3.13; otherwise any will do.
ASKED := $(if $(filter command%,$(origin PYTHON)),$(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2])'),$(HELD))
# A .venv of another Python is made anew.
STALE := $(if $(HELD),$(if $(subst $(HELD),,$(ASKED)),.venv),.venv)

.PHONY: serve export install test test-long lint format docs bench bench-peers report clean $(STALE)

serve: .venv/serving export  ## train the iris model if there is none, and serve it
	@$(BIN)/unpickled serve

export: .venv/serving  ## train and export the iris model, if there is none
	@ls models/iris/*/model.onnx >/dev/null 2>&1 || $(BIN)/unpickled train iris

install: .venv/developing  ## everything, tests and tools included

# The tests share the processors: several threads of a library would only wait for each other. What Python has
# compiled is kept for the hundreds of processes that the tests start.
test test-long: export OMP_NUM_THREADS = 1
test test-long: export OPENBLAS_NUM_THREADS = 1
test test-long: export PYTHONDONTWRITEBYTECODE =

test: .venv/developing  ## run the tests, but for the long ones
	@$(BIN)/python -m pytest -n 4 --dist loadfile $(OPTIONS)

test-long: .venv/clustering  ## run the long tests: benchmarks, installations, clusters, soaks
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m long $(OPTIONS)

lint: .venv/developing  ## ruff, mypy and the order of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: .venv/developing  ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/documenting  ## build the documentation into build/docs; a warning is an error
	@$(BIN)/python -m sphinx -W --keep-going -n -q docs build/docs
	@echo "built build/docs/index.html"

bench: .venv/benchmarking  ## measure Unpickled against the baselines, and report
	@$(BIN)/python -m benchmarks run $(OPTIONS)

bench-peers: .venv/benchmarking  ## the same, and other serving frameworks, each in an environment of its own
	@$(BIN)/python -m benchmarks run --peers $(OPTIONS)

report: .venv/benchmarking  ## tables, charts and the README's figures, from what is stored
	@$(BIN)/python -m benchmarks report

clean:  ## remove what was built and installed; models stay
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Unpickled needs Python 3.11 or newer," \
	    "and $(PYTHON) is $$($(PYTHON) --version 2>&1): name a newer one, as in make serve PYTHON=python3.13" >&2; exit 1; }
	@echo "creating .venv"
	@$(PYTHON) -m venv --clear .venv

.venv/serving: $(SETUP) $(STALE) | .venv
	@echo "installing what training and serving need"
	@$(PIP) -e '.[export,server]'
	@touch $@

.venv/benchmarking: $(SETUP) $(STALE) | .venv
	@echo "installing what training, serving and measuring need"
	@$(PIP) -e '.[export,server,benchmarks]'
	@touch $@ .venv/serving

.venv/documenting: $(SETUP) $(STALE) | .venv
	@echo "installing what the documentation is built with"
	@$(PIP) -e '.[export,server,docs]'
	@touch $@ .venv/serving

.venv/developing: $(SETUP) $(STALE) | .venv
	@echo "installing everything, tests and tools included"
	@$(PIP) -e '.[export,server,benchmarks,test]'
	@mkdir -p .venv/checkout && ln -sfn ../.. .venv/checkout/unpickled
	@touch $@ .venv/serving .venv/benchmarking

.venv/clustering: .venv/developing
	@echo "installing Ray, Spark and Dask"
	@$(PIP) -e '.[ray,spark,dask]'
	@touch $@
