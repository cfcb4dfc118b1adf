# make demo     three throwaway hosts, made into a cluster for real
# make test     all tests, the lab included
# make story    one story of the lab by its name: `make story NAME=swarm::new_engines_become_a_swarm`
# make mutants  which small changes of what decides no test without hosts notices; MUTANTS="--file GLOB --shard N/M" takes fewer
# make bench    everything against what people use now, written to BENCHMARKS.md; about fifteen minutes
# make build    the program, optimised
# make install  the program, its completions and manual pages, and a plugin of Docker's client: `docker cluster`
# make dist     a tarball and a Debian package with their checksums, in target/dist
#
# demo, test, story and bench install what they need on Debian and Ubuntu, and elsewhere say what is missing.
# Where `make install` puts things: the program under PREFIX/bin, the rest where shells and man look for it. DESTDIR is for packages.
# DOCKER_MACHINE=yes makes a link called docker-machine as well.
PREFIX ?= $(HOME)/.local
PLUGINS ?= $(HOME)/.docker/cli-plugins
DESTDIR ?=
DOCKER_MACHINE ?= no

# How many tests have their lab at the same time. Much of their time they wait for hosts: two cores have nothing to do a third of the time
# with two labs. No lab has more than four hosts, and a machine boots sixteen with the 128 inotify instances that Linux gives root.
LABS ?= 3

# One story, which is a test on real hosts: MODULE::FUNCTION, by the files of tests/lab.
NAME ?=

.PHONY: demo test test-quick story mutants bench build install dist

demo: build
	scripts/demo

test:
	scripts/prepare
	cargo test --locked --workspace
	cargo test --locked --test lab -- --ignored --test-threads=$(LABS)

# What needs no hosts.
test-quick:
	cargo test --locked --workspace

# With --exact a name that no story has would be a success without a test; so its own list is asked first.
story:
	@[ -n "$(NAME)" ] || { echo "Say which: make story NAME=MODULE::FUNCTION" >&2; exit 2; }
	scripts/prepare
	@cargo test --locked --quiet --test lab -- --ignored --list | grep -qxF '$(NAME): test' \
		|| { echo "There is no story $(NAME). There are:" >&2; cargo test --locked --quiet --test lab -- --ignored --list >&2; exit 2; }
	cargo test --locked --test lab -- --ignored --exact --nocapture --test-threads=$(LABS) '$(NAME)'

# Words for cargo-mutants.
MUTANTS ?=

mutants:
	scripts/mutants $(MUTANTS)

bench: build
	scripts/prepare
	bench/run.py

build:
	cargo build --release --locked

install: build
	BINARY=target/release/docker-cluster DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" PLUGINS="$(PLUGINS)" DOCKER_MACHINE="$(DOCKER_MACHINE)" \
		scripts/install

dist:
	scripts/dist
