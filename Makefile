# Everything a newcomer needs: `make up` and `make test`. Both install what they need into .uv and .venv, here, and nowhere else.
PYTHON ?= $(shell command -v python3.11 >/dev/null 2>&1 && python3.11 -c '' >/dev/null 2>&1 && echo python3.11 || echo python3)
UV_VERSION := 0.13.9
UV := .uv/bin/uv
OLO := .venv/bin/olo
export UV_PYTHON_DOWNLOADS := never
# Where the environment forbids to keep compiled modules, each of a dozen processes would compile all that it imports at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test quick check bench prove city simulate schemas clean help

up: .venv/ready            ## start the whole platform, here
	@$(OLO) up

test: .venv/ready          ## the test suite (below 10 minutes)
	@.venv/bin/pytest

# Hypothesis and the simulations play a tenth of their examples here; `test` plays all of them, `simulate` many more.
quick: .venv/ready         ## whatever needs no broker, in under a minute, and which branches of the pure modules that reaches
	@.venv/bin/coverage run -m pytest -m "not platform" --hypothesis-profile=quick
	@.venv/bin/coverage json --quiet -o .venv/coverage.json
	@.venv/bin/python -m tests.branches .venv/coverage.json

check: .venv/ready         ## format, lint, types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

bench: .venv/ready         ## every benchmark, each against a peer or a limit of the same run
	@.venv/bin/python -W ignore -m tests.lab.bench $(BENCH)

prove: .venv/ready         ## the crash proof of money on the real broker
	@$(OLO) prove money

city: .venv/ready          ## 200 synthetic phones on a platform, for five minutes; every coin accounted for
	@$(OLO) up --city 200 --minutes 5

simulate: .venv/ready      ## 2,000 simulated schedules each of money, whole calls and growth: crashes, lost commits, repeats
	@.venv/bin/python -m tests.lab.simulated_money
	@.venv/bin/python -m tests.lab.simulated_calls
	@.venv/bin/python -m tests.lab.simulated_growth

schemas: .venv/ready       ## export JSON Schema and AsyncAPI
	@$(OLO) schemas export

clean:                     ## forget the environment (data in .olo stays)
	rm -rf .uv .venv

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

.venv/ready: pyproject.toml uv.lock | $(UV)
	@echo "olo: installing the locked packages (once; about half a minute) ..."
	@$(UV) sync --frozen --quiet --python "$$(command -v $(PYTHON))"
	@touch $@

$(UV):
	@echo "olo: fetching the package installer uv $(UV_VERSION) ..."
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "olo needs Python 3.11 or 3.12, found " + sys.version.split()[0] + "; name one with: make PYTHON=/path/to/python3.11 up")'
	@$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
