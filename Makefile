# The commands of this repository; `make` alone lists them. CI runs `make test` and nothing else (.ci/run).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Cargo.lock says what is built; `make LOCKED= build` lets cargo change it.
LOCKED ?= --locked
TARGET := x86_64-unknown-linux-gnu
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)/$(TARGET)

# What is built must not depend on where: the folders of the repository, of what is built and of the crates' sources
# get names of their own in panics' messages.
CARGO_HOME_DIR := $(or $(CARGO_HOME),$(HOME)/.cargo)
SAME_PATHS := --remap-path-prefix=$(CURDIR)=azslurm --remap-path-prefix=$(abspath $(TARGET_DIR))=built \
	--remap-path-prefix=$(abspath $(CARGO_HOME_DIR))=cargo
comma := ,
empty :=
space := $(empty) $(empty)
quoted = [$(subst $(space),$(comma),$(foreach word,$(1),"$(word)"))]

# The version of packages: by the commit and its tag.
DIST_VERSION ?= $(shell packaging/version.sh)
# In which systems `make test-dist` installs them.
DIST_ROOTS ?= bookworm trixie rpm systemd static

# What is installed on a cluster, as cargo's -p.
PROGRAMS := azslurm-resume azslurm-suspend azslurm-resume-fail azslurm-sync azslurm-conf

# Cluster tests wait for slurmctld's own clocks most of their time, so more of them than there are cores run at
# once; with more than this, slurmctld's own deadlines begin to be missed on 2 cores.
CLUSTER_THREADS ?= 4

# Whose Slurm the stories run with, by tests/slurm-root.sh: the machine's own, and Debian's by suite; sid has the newest.
SLURMS ?= system trixie sid
# Which stories, as words of their names; none: all.
STORIES ?=

# How long `make fuzz` runs, all targets together, and which ones; none: all.
MINUTES ?=
TARGETS ?=

# Which parts `make bench` runs, `nodes` or `nodes:1000`; none: all (about twelve minutes).
ONLY ?=

# The steps of `make test`, in order. The gates that need no build come first.
TEST_STEPS := deps fmt clippy build-tests static-debug test-all deny-if-here

# `make prove`: so many schedules (170 or more a second on two cores that do nothing else), on how many threads (one
# more than cores: between two schedules a thread waits for a new one); for each mutation so many.
SCHEDULES ?= 100000
MUTANT_SCHEDULES ?= 2500
THREADS ?= 3
# Of `make prove` the first seed, else 1; of `make chaos` the seed, else one of its own: it does not repeat a
# finding there, but often another run does.
SEED ?=

.PHONY: help prove mutants deps fmt clippy build build-tests static-debug test test-all test-unit test-e2e test-rest test-long test-slurms test-sdk fuzz chaos \
	dist deps-dist lint-dist reproduce-packages reproduce-programs test-dist \
	bench demo deny \
	deny-if-here release golden clean root

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)$$/  make \1\t\2/p' Makefile | expand -t 22

deps: ## install what tests and demo need (Debian, as root), or say what is missing
	@tests/install-deps.sh

build: ## build every program, static, for debugging
	cargo build $(LOCKED) --workspace --bins

fmt:
	cargo fmt --all -- --check

clippy:
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

static-debug:
	packaging/check-static.sh $(addprefix $(TARGET_DIR)/debug/,$(PROGRAMS))

test: ## THE test command: everything, from nothing to green, under 30 minutes on 2 cores
	@began=$$SECONDS; report=""; \
	for step in $(TEST_STEPS); do \
		step_began=$$SECONDS; \
		echo "make test: $$step"; \
		if ! $(MAKE) "$$step"; then \
			echo "make test: FAILED in $$step after $$((SECONDS - began)) s; to repeat it: make $$step" >&2; \
			exit 1; \
		fi; \
		report="$$report $$step $$((SECONDS - step_began)) s,"; \
	done; \
	echo "make test: ok in $$((SECONDS - began)) s:$${report%,}"

# The same packages and targets in every step: cargo chooses the features of dependencies by what is asked for, and
# another choice would build all of them again.
build-tests: ## build every program and every test
	cargo build $(LOCKED) --workspace --all-targets

# The stories wait most of their time, so everything else runs beside them; each of the two shows its output whole,
# when it ends.
test-all: root build-tests ## every test of the workspace, and the SDK's (root)
	@$(MAKE) -j2 --output-sync=recurse --no-print-directory test-e2e test-rest

# Cargo can leave out no single test: all whose name does not begin with `e` are all but `e2e`.
test-rest: root build-tests ## every test but the stories, and the SDK's (root)
	cargo test $(LOCKED) --workspace --lib --bins --test '[!e]*' -- --test-threads=$(CLUSTER_THREADS)
	cargo test $(LOCKED) --workspace --doc
	@$(MAKE) test-sdk

test-unit: ## tests of the crates that need neither root nor slurmctld
	cargo test $(LOCKED) --workspace --lib

test-e2e: root build-tests ## the stories with a real slurmctld, slurmd and the ARM emulator (root)
	cargo test $(LOCKED) --workspace --test e2e -- --test-threads=$(CLUSTER_THREADS)

test-long: root build-tests ## the stories that wait for minutes, which test-e2e leaves out (root)
	cargo test $(LOCKED) --workspace --test e2e -- --ignored --test-threads=$(CLUSTER_THREADS)

fuzz: ## hostile input with a coverage-guided engine: MINUTES in all (60), TARGETS of tests/fuzz (all)
	tests/fuzz/long.sh $(or $(MINUTES),60) $(TARGETS)

test-slurms: root build-tests ## the stories with each Slurm of SLURMS, in roots made from Debian's packages, and a table (root)
	@tests/slurms.sh "$(SLURMS)" "$(CLUSTER_THREADS)" $(STORIES)

test-sdk: build-tests ## the official Python SDK against the emulator, where PyPI can be reached
	AZSLURM_ARM_EMULATOR=$(abspath $(TARGET_DIR))/debug/azslurm-arm-emulator tests/sdk/run.sh

prove: ## SCHEDULES simulated clusters with crashes and lies, then every mutation of mutations.toml
	@SEED=$(or $(SEED),1) THREADS=$(THREADS) tests/sim/prove.sh $(SCHEDULES) $(MUTANT_SCHEDULES)

mutants: ## only the mutations: does the simulation notice each rule of ours that is broken on purpose?
	@SEED=$(or $(SEED),1) THREADS=$(THREADS) tests/sim/prove.sh 0 $(MUTANT_SCHEDULES)

chaos: deps root build ## MINUTES of chaos on a real Slurm and the emulator, then an audit; SEED chooses (root)
	@$(TARGET_DIR)/debug/azslurm-chaos --minutes "$(or $(MINUTES),10)" $(if $(SEED),--seed "$(SEED)")

# The programs are those that are shipped; the benchmark is built apart from them, because cargo would give them
# its features.
bench: release ## what the shipped programs cost, beside what their requests alone cost; ONLY chooses parts
	cargo build $(LOCKED) --profile bench-tools -p azslurm-bench -p azslurm-arm-emulator
	@$(TARGET_DIR)/bench-tools/azslurm-bench run target/bench target/dist $(ONLY)

demo: deps root build ## a real Slurm job on VMs that were not there, in about two minutes (root)
	@$(TARGET_DIR)/debug/azslurm-demo

root:
	@if [ "$$(id -u)" != 0 ]; then \
		echo "this needs root: slurmctld and slurmd start processes for other users; all packages are here" >&2; \
		exit 1; \
	fi

deny: ## licences, advisories, duplicates, sources; installs cargo-deny (5 minutes of CPU) if it is missing
	@if ! command -v cargo-deny >/dev/null; then \
		echo "make deny: installing cargo-deny, about 5 minutes of CPU"; \
		(cd / && cargo install --locked cargo-deny); \
	fi
	@$(MAKE) deny-if-here

# Not a reason for `make test` to build cargo-deny for 5 minutes on every fresh machine; where it is installed
# it is part of the test. The advisories' database is fetched from the network, so its absence only warns.
deny-if-here:
	@if ! command -v cargo-deny >/dev/null; then \
		echo "deny: left out, cargo-deny is not installed: make deny"; \
		exit 0; \
	fi; \
	cargo deny --locked check licenses bans sources; \
	if cargo deny --locked fetch db >/dev/null 2>&1; then \
		cargo deny --locked check advisories; \
	else \
		echo "deny: advisories left out: their database cannot be fetched from here"; \
	fi

# What makes the shipped programs smaller and costs no time: relocations in a tenth of their room (a third of a
# megabyte in azslurm-sync), and SQLite without what nobody here asks for: its search of texts and maps, checks of
# how it is called (the compiler's, with rusqlite), plugins, names of columns' origins, statistics for ANALYZE.
RELEASE_LINK := -C link-arg=-Wl,-z,pack-relative-relocs
RELEASE_SQLITE := -USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 -USQLITE_ENABLE_RTREE \
	-USQLITE_ENABLE_API_ARMOR -USQLITE_ENABLE_COLUMN_METADATA -USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_ENABLE_STAT4 \
	-USQLITE_ENABLE_LOAD_EXTENSION -DSQLITE_OMIT_LOAD_EXTENSION -USQLITE_SOUNDEX -DSQLITE_OMIT_SHARED_CACHE \
	-DSQLITE_DEFAULT_MEMSTATUS=0

# The gate wants symbols, so the link leaves them in and `strip` takes them out of what is shipped.
release: ## build the programs as they are shipped, into target/dist
	LIBSQLITE3_FLAGS="$(RELEASE_SQLITE)" cargo build $(LOCKED) --release --config 'profile.release.strip=false' \
		--config 'target.$(TARGET).rustflags=$(call quoted,$(SAME_PATHS) $(RELEASE_LINK))' $(addprefix -p ,$(PROGRAMS))
	packaging/check-static.sh $(addprefix $(TARGET_DIR)/release/,$(PROGRAMS))
	mkdir -p target/dist
	for program in $(PROGRAMS); do \
		strip -o "target/dist/$$program" "$(TARGET_DIR)/release/$$program"; \
	done
	ls -l target/dist

dist: deps-dist release build ## packages of a release for Debian's and RPM's systems, into target/packages
	packaging/dist.sh target/dist $(TARGET_DIR)/debug/azslurm-generate target/packages "$(DIST_VERSION)"

deps-dist: deps ## install what packing and looking at packages needs (Debian, as root), or say what is missing
	@tests/install-deps.sh dist

lint-dist: ## lintian and rpmlint over target/packages; an error fails
	packaging/lint.sh target/packages

reproduce-packages: build ## does packing the same programs twice give the same bytes?
	packaging/reproduce.sh packages target/dist $(TARGET_DIR)/debug/azslurm-generate "$(DIST_VERSION)"

reproduce-programs: ## does building this commit in another folder give the bytes of target/dist? A release build more
	packaging/reproduce.sh programs target/dist

# Of the packages as `make dist` made them: they are not built anew here, so that what is shown is what is shipped.
test-dist: root deps-dist build lint-dist ## install, use, upgrade, remove, purge target/packages in fresh roots of Debian 12, 13 and RPM (root)
	tests/dist.sh target/packages target/dist $(TARGET_DIR)/debug $(DIST_ROOTS)

golden: ## rewrite the golden files of crates/core after a decision was changed on purpose
	UPDATE_GOLDEN=1 cargo test $(LOCKED) -p azslurm-tests --test golden

clean: ## remove everything that was built
	cargo clean
	rm -rf target/dist target/packages .azpy
