PYTHON ?= python3
BIN := .venv/bin

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'
.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@
setup: .venv/.installed ## make .venv with the locked dependencies
check: setup ## formatter, linter, types, import contracts
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports
test: setup ## all tests
	$(BIN)/pytest -n 2 --dist loadscope
golden: setup ## rewrite the golden files from what the code says now
	$(BIN)/pytest -q tests/golden --update-golden
e2e: setup ## the tests with the real Envoy only
	$(BIN)/pytest tests/e2e
fuzz: setup ## the property tests, for longer and with a new seed
	HYPOTHESIS_PROFILE=fuzz MESHPASS_FUZZ=1 $(BIN)/pytest tests/property tests/e2e/test_jwt_oracle.py tests/e2e/test_route_oracle.py tests/e2e/test_churn.py tests/e2e/test_outage_edits.py tests/e2e/test_faults.py --timeout 3600
bench: setup ## print the benchmark table
	$(BIN)/python -m bench
demo: setup ## run the guide against a real Envoy
	$(BIN)/meshpass demo
lock: setup ## resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra dev pyproject.toml -o requirements.lock

.PHONY: help setup check test golden e2e fuzz bench demo lock
