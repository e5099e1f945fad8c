# pg_stash: run "make" for the list of targets.

.DEFAULT_GOAL := help
.PHONY: help run stop psql test unit check-exact bench replay lint check-versions setup package install uninstall clean portable test-portable
unexport RUST_BACKTRACE
export CARGO_TERM_COLOR ?= auto

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-15s %s\n", $$1, $$2 }'

run: package ## see it work: a private server with a shop database, and a guided demonstration
	@scripts/install.sh install "$$(scripts/run-tree.sh)"
	@scripts/cluster.sh start
	@scripts/demo.sh

stop: ## stop the private server of make run
	@scripts/cluster.sh stop

psql: ## open psql on the private server of make run
	@scripts/cluster.sh psql shop

test: lint check-versions ## everything that has to hold: lints, all supported versions compile, all tests
	@scripts/test.sh
	@scripts/test-python.sh

unit: setup ## the tests whose names contain T=…, without the lints
	@scripts/test.sh $(T)

check-exact: setup ## writers and readers for SECONDS=60: nobody reads anything stale
	@EXACT_SECONDS=$(or $(SECONDS),60) RUST_TEST_NOCAPTURE=1 scripts/test.sh exactness

bench: package ## measure against Redis, memcached and hand-written SQL; QUICK=1 takes under 3 minutes
	@scripts/install.sh install "$$(scripts/run-tree.sh)"
	@scripts/bench.sh

replay: package ## replay real requests against exact LRU and Redis; TRACES=directory of CSV files
	@scripts/install.sh install "$$(scripts/run-tree.sh)"
	@scripts/bench.sh replay

portable: ## assemble the portable edition, sql/portable/pg_stash.sql, from its parts
	@scripts/portable.sh

test-portable: ## test the portable edition on private servers
	@scripts/test-portable.sh

lint: setup ## formatting and clippy, warnings denied
	@scripts/lint.sh

check-versions: setup ## compile for PostgreSQL 14 to 18, from the bindings that pgrx ships
	@scripts/check-versions.sh

.PHONY: test-python bench-python flask-shop
test-python: ## the tests of the Python client, on the build that make test has left
	@scripts/test-python.sh

bench-python: package ## measure from Python, against redis-py, Django and Flask-Caching; QUICK=1 takes a minute
	@scripts/install.sh install "$$(scripts/run-tree.sh)"
	@scripts/bench-python.sh

flask-shop: package ## see it in an application: a small Flask shop with visitors, on a private server
	@scripts/install.sh install "$$(scripts/run-tree.sh)"
	@scripts/cluster.sh start
	@scripts/flask-shop.sh

setup: ## install what is missing to build and test; a second call installs nothing
	@scripts/setup.sh

package: setup ## build in release, and leave the extension's files in target/package
	@scripts/package.sh

install: package ## install into the system's PostgreSQL (PG_MAJOR=… to choose); CREATE EXTENSION pg_stash follows
	@scripts/install.sh install

uninstall: ## remove the files that make install has put there
	@scripts/install.sh uninstall

clean: stop ## stop the private server, and remove all that was built
	@scripts/clean.sh
