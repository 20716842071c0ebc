# Everything a newcomer needs: `make up` and `make test`. Both install what they need into .uv and .venv, here, and nowhere else.
OLO := .venv/bin/olo
SCHEDULES := 2000
# Two at a time; the longest first.
SIMULATED := calls payments payouts chats notifications growth timetable money
# Which tests stay together: tests/groups.py; which files go first: tests/conftest.py.
TWO := --numprocesses=2 --dist=loadscope --no-loadscope-reorder
# Where the environment forbids to keep compiled modules, each of a dozen processes would compile all that it imports at each start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test quick check web bench screenshots prove city simulate schemas docs clean help

up: .venv/ready            ## start the whole platform, here
	@$(OLO) up

# In two processes, each with a platform of its own: the tests on it mostly wait.
test: .venv/ready          ## the test suite (some twelve minutes on two cores)
	@.venv/bin/pytest $(TWO) -rs

# Hypothesis and the simulations play a tenth of their examples here; `test` plays all of them, `simulate` many more.
# A test module that cannot be imported, of a domain without its decider, say, hides none of the others.
quick: .venv/ready         ## whatever needs no broker, in some two minutes, and which branches of the pure modules that reaches
	@.venv/bin/coverage erase
	@.venv/bin/coverage run -m pytest $(TWO) -m "not platform" --hypothesis-profile=quick --continue-on-collection-errors
	@.venv/bin/coverage combine --quiet
	@.venv/bin/coverage json --quiet -o .venv/coverage.json
	@.venv/bin/python -m tests.branches .venv/coverage.json

check: .venv/ready         ## format, lint, types
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

web: .venv/ready           ## the pages /phone and /panel: their client, types, tests, build and size
	@.venv/bin/python -W ignore -m tests.lab.web

bench: .venv/ready         ## every benchmark, each against a peer or a limit of the same run
	@.venv/bin/python -W ignore -m tests.lab.bench $(BENCH)

screenshots: .venv/ready   ## the pictures of the papers, by the test that walks docs/tour.md
	@OLO_SCREENSHOTS=docs/pictures .venv/bin/pytest -q -rs tests/test_browser_tour.py

prove: .venv/ready         ## the crash proof of money on the real broker
	@$(OLO) prove money

city: .venv/ready          ## 200 synthetic phones on a platform, for five minutes; every coin accounted for
	@$(OLO) up --city 200 --minutes 5

simulate: .venv/ready      ## 2,000 simulated schedules each of money, whole calls, payments, payouts, growth, the timetable, chats and notifications: crashes, lost commits, repeats; requests of any shape
	@printf '%s\n' $(SIMULATED) | xargs -P 2 -I{} .venv/bin/python -m tests.lab.simulated_{} $(SCHEDULES)
	@.venv/bin/pytest -q $(TWO) tests/test_fuzz.py tests/test_openapi.py --hypothesis-profile=long

schemas: .venv/ready       ## export JSON Schema and AsyncAPI
	@$(OLO) schemas export

docs: .venv/ready          ## make the references in docs/reference from the code
	@.venv/bin/python -m tests.lab.reference

clean:                     ## forget the environment and what is built (data in .olo stays)
	rm -rf .uv .venv serving/pages dashboards/web/node_modules dashboards/web/.svelte-kit dashboards/web/build

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

.venv/ready: pyproject.toml uv.lock   # `make PYTHON=/path/to/python3.12 up` names the Python that it is made with
	@sh infra/bootstrap.sh
	@touch $@
