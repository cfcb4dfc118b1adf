# make demo     three throwaway hosts, made into a cluster for real
# make test     all tests, the lab included
# make bench    everything against what people use now, written to BENCHMARKS.md; about fifteen minutes
# make build    the program, optimised
# make install  the program as a plugin of Docker's client: `docker cluster`
#
# demo, test and bench install what they need on Debian and Ubuntu, and elsewhere say what is missing.
PLUGINS ?= $(HOME)/.docker/cli-plugins

# How many tests have their lab at the same time. Most of their time they wait for hosts: two cores carry two while they build as well.
LABS ?= 2

.PHONY: demo test test-quick bench build install

demo: build
	scripts/demo

test:
	scripts/prepare
	cargo test --locked --workspace
	cargo test --locked --test lab -- --ignored --test-threads=$(LABS)

# What needs no hosts.
test-quick:
	cargo test --locked --workspace

bench: build
	scripts/prepare
	bench/run.py

build:
	cargo build --release --locked

install: build
	mkdir -p "$(PLUGINS)"
	install -m 0755 target/release/docker-cluster "$(PLUGINS)/docker-cluster"
