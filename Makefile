# make demo     three throwaway hosts, made into a cluster for real
# make test     all tests, the lab included
# make bench    everything against what people use now, written to BENCHMARKS.md; about fifteen minutes
# make build    the program, optimised
# make install  the program, its completions and manual pages, and a plugin of Docker's client: `docker cluster`
# make dist     a tarball and a Debian package with their checksums, in target/dist
#
# demo, test and bench install what they need on Debian and Ubuntu, and elsewhere say what is missing.
# Where `make install` puts things: the program under PREFIX/bin, the rest where shells and man look for it. DESTDIR is for packages.
PREFIX ?= $(HOME)/.local
PLUGINS ?= $(HOME)/.docker/cli-plugins
DESTDIR ?=

# How many tests have their lab at the same time. Most of their time they wait for hosts: two cores carry two while they build as well.
LABS ?= 2

.PHONY: demo test test-quick bench build install dist

demo: build
	scripts/demo

test:
	scripts/prepare
	cargo test --locked
	cargo test --locked --test lab -- --ignored --test-threads=$(LABS)

# What needs no hosts.
test-quick:
	cargo test --locked

bench: build
	scripts/prepare
	bench/run.py

build:
	cargo build --release --locked

install: build
	BINARY=target/release/docker-cluster DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" PLUGINS="$(PLUGINS)" scripts/install

dist:
	scripts/dist
