# Everything is made and run inside the checkout, in .envs/; tests/environments.py does the work.

PYTHON ?= python3
RUNNER ?= python3
PREFIX ?= /usr/local
CASES ?= quick
ARGS ?=
LANES ?=

ENVIRONMENTS = $(RUNNER) tests/environments.py
LANES_OF = $(RUNNER) tests/lanes.py $(if $(LANES),--lanes $(LANES))

.PHONY: help test test-all check soak lint conformance bench bench-peers dist install clean

help: ## say what there is (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## run the tests [PYTHON=2.7|3.13|name|path] [ARGS='tests/unit -k name']
	@$(ENVIRONMENTS) test $(PYTHON) -- $(ARGS)

test-all: ## run the tests on every Python found, 2.7 and 3.6 to 3.13, in LANES [LANES=3] [ARGS=...]
	@$(LANES_OF) tests -- $(ARGS)

check: ## all that .ci/run does when the programs are there [LANES=3]
	@$(LANES_OF) --repeat soak tests conformance dist lint

soak: ## run the tests that take minutes [PYTHON=...] [ARGS=...]
	@$(ENVIRONMENTS) soak $(PYTHON) -- $(ARGS)

lint: ## flake8, and does ws2s.py compile on every Python found?
	@$(ENVIRONMENTS) lint $(PYTHON)

conformance: ## the Autobahn test suite, RFC 6455 [CASES=quick|all] [PYTHON=...]
	@$(RUNNER) tests/conformance/run.py --cases $(CASES) --python $(PYTHON)

bench: ## measure speed, CPU and memory [PYTHON=...] [ARGS='--compare --only download']
	@$(RUNNER) tests/bench/bench.py --python $(PYTHON) $(ARGS)

bench-peers: ## install what `make bench ARGS=--compare` compares with [PYTHON=...]
	@$(ENVIRONMENTS) bench-peers $(PYTHON)

dist: ## build the wheel, the source archive and the package of npm into dist/
	@$(ENVIRONMENTS) dist $(PYTHON)

install: ## copy all that runs to DESTDIR/PREFIX [PREFIX=/usr/local] [DESTDIR=]
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/ws2s/ws2s-js"
	install -m 755 ws2s.py ws2sd "$(DESTDIR)$(PREFIX)/share/ws2s"
	install -m 644 ws2s-js/* "$(DESTDIR)$(PREFIX)/share/ws2s/ws2s-js"
	ln -sf ../share/ws2s/ws2s.py "$(DESTDIR)$(PREFIX)/bin/ws2s"
	ln -sf ../share/ws2s/ws2sd "$(DESTDIR)$(PREFIX)/bin/ws2sd"

clean: ## remove all that was made here, .envs/ too
	rm -rf .envs build dist *.egg-info .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.pyc' -exec rm -f {} +
