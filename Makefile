# What a person runs. `.ci/run` calls the same targets.

CARGO ?= cargo
VERSITYGW_VERSION := v1.8.0
TOXIPROXY_VERSION := v2.12.0
# An S3 server that is known to be wrong.
S3S_FS_VERSION := 0.14.1
AZURITE_VERSION := 3.37.0
# The cargo-deny that CI installs.
CARGO_DENY_VERSION := 0.20.2
# The compiler for other platforms, from PyPI: zig, and the cargo command that calls it.
ZIG_VERSION := 0.17.1
CARGO_ZIGBUILD_VERSION := 0.24.1
# For `make semver`.
CARGO_SEMVER_CHECKS_VERSION := 0.51.0
# The oldest Rust that builds the workspace; in CI `make oldest` proves it.
OLDEST_RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
SERVERS := $(CURDIR)/.servers/bin
AZURITE := $(CURDIR)/.servers/azurite
VERSITYGW_STAMP := $(SERVERS)/.versitygw-$(VERSITYGW_VERSION)
TOXIPROXY_STAMP := $(SERVERS)/.toxiproxy-$(TOXIPROXY_VERSION)
AZURITE_BLOB := $(AZURITE)/node_modules/.bin/azurite-blob
AZURITE_STAMP := $(AZURITE)/.$(AZURITE_VERSION)
ZIG := $(CURDIR)/.servers/zig
ZIG_STAMP := $(ZIG)/.$(ZIG_VERSION)-$(CARGO_ZIGBUILD_VERSION)

.DEFAULT_GOAL := help
.PHONY: help demo test examples check features portable oldest aarch64 advisories cargo-deny doc semver package dist bench torture nightly
.PHONY: mutants known-wrong fuzz miri servers zig clean

help: ## Shows this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: ## Appends, kills a writer, reads back and verifies, in a temporary directory
	@sh demo.sh

test: servers ## Runs every test and example; tests on real servers need Go and npm once, for `make servers`
	$(CARGO) test --workspace --locked
	cd fuzz && CARGO_TARGET_DIR="$(CURDIR)/target" $(CARGO) test --locked --no-default-features
	$(MAKE) --no-print-directory examples
	@test -x $(SERVERS)/versitygw || test -n "$$KFS_VERSITYGW" || \
	  echo "SKIPPED: the tests on a real S3 server; see \`make servers\`"
	@test -x $(AZURITE_BLOB) || test -n "$$KFS_AZURITE" || \
	  echo "SKIPPED: the tests on an Azure server; see \`make servers\`"

EXAMPLES := $(patsubst core/examples/%.rs,%,$(wildcard core/examples/*.rs))

examples: ## Runs each program of core/examples
	@set -e; for example in $(EXAMPLES); do \
	  echo "=== example $$example"; \
	  $(CARGO) run --quiet --locked -p kfs-core --features prometheus --example $$example; \
	done

check: doc ## Checks format, lints, docs, licences and sources of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p kfs-core --locked -- -D warnings
	$(CARGO) clippy -p kfs-sim --features mutants --all-targets --locked -- -D warnings
	@$(MAKE) --no-print-directory features portable oldest
	@if command -v cargo-deny >/dev/null; then \
	  $(CARGO) deny --locked --log-level error check bans licenses sources; \
	elif [ -n "$$CI" ]; then \
	  echo "cargo-deny is missing in CI" >&2; exit 1; \
	else \
	  echo "SKIPPED: licences and sources of dependencies: cargo-deny is not installed (make cargo-deny)"; \
	fi

# What `cargo hack` would do for these sets: only the crate itself is checked again each time.
FEATURE_SETS := aws azure gcp prometheus testing aws,azure aws,gcp azure,gcp
FACES := -p kfs-ffi -p kfs-python -p kfs-cli

features: ## Lints the library with each feature alone and with each two clouds, and the faces with each cloud alone
	@set -e; for features in $(FEATURE_SETS); do \
	  echo "=== kfs-core, features $$features"; \
	  $(CARGO) clippy --quiet --locked -p kfs-core --features "$$features" -- -D warnings; \
	done; \
	for features in "" aws azure gcp; do \
	  echo "=== the faces, features '$$features'"; \
	  $(CARGO) clippy --quiet --locked $(FACES) --no-default-features --features "$$features" -- -D warnings; \
	done

# Both need parts that are downloaded once: CI always runs them, and elsewhere what is missing is said loudly.
skip = { [ -z "$$CI" ] || { echo "$(1), and in CI nothing is skipped" >&2; exit 1; }; echo "SKIPPED: $(1)"; }

PORTABLE := aarch64-unknown-linux-gnu aarch64-apple-darwin

portable: ## Lints the library for the platforms that nothing here runs on, without and with the cloud stores
	@if ! test -x $(ZIG)/bin/cargo-zigbuild; then \
	  $(call skip,other platforms: zig is not installed (make zig)); \
	else \
	  set -e; for target in $(PORTABLE); do \
	    for features in "" aws,azure,gcp; do \
	      echo "=== kfs-core for $$target, features '$$features'"; \
	      PATH="$(ZIG)/bin:$$PATH" cargo-zigbuild clippy --quiet --locked -p kfs-core --features "$$features" \
	        --target $$target -- -D warnings; \
	    done; \
	  done; \
	fi

# The tests that start this program again are left out: the kernel does not run a program for another platform.
AARCH64_SKIPPED := one_of_two_processes_wins a_process_killed_at_any_step of_the_increments_of_two_processes
QEMU := qemu-aarch64 -L /usr/aarch64-linux-gnu

aarch64: zig ## Runs the core's tests on aarch64, emulated; needs qemu-user and libc6-arm64-cross
	@if ! command -v qemu-aarch64 >/dev/null || ! test -d /usr/aarch64-linux-gnu/lib; then \
	  $(call skip,aarch64: qemu-user or libc6-arm64-cross is not installed); \
	else \
	  PATH="$(ZIG)/bin:$$PATH" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$(QEMU)" PROPTEST_CASES=8 \
	    cargo-zigbuild test --locked -p kfs-core --lib --target aarch64-unknown-linux-gnu -- \
	    $(addprefix --skip ,$(AARCH64_SKIPPED)); \
	fi

oldest: ## Checks that the oldest Rust that Cargo.toml names builds the workspace
	@if ! $(CARGO) +$(OLDEST_RUST) --version >/dev/null 2>&1; then \
	  $(call skip,Rust $(OLDEST_RUST): it is not installed (rustup toolchain install $(OLDEST_RUST) --profile minimal)); \
	else \
	  $(CARGO) +$(OLDEST_RUST) check --quiet --locked --workspace --target-dir target/oldest; \
	fi

zig: $(ZIG_STAMP) ## Installs the compiler for other platforms into .servers/zig, and Rust's libraries for them

$(ZIG_STAMP):
	python3 -m venv --clear $(ZIG)
	$(ZIG)/bin/pip install -q ziglang==$(ZIG_VERSION) cargo-zigbuild==$(CARGO_ZIGBUILD_VERSION)
	rustup target add $(PORTABLE)
	@touch $@

# The database is a git repository, and no registry or mirror of crates has it. CI stays off the network beyond the
# registries, so it checks where a copy is at hand and says loudly where there is none; ADVISORIES=fetch brings one.
ADVISORIES ?= offline
ADVISORY_DB := $(or $(CARGO_HOME),$(HOME)/.cargo)/advisory-dbs

advisories: ## Checks the dependencies against RustSec's advisories; ADVISORIES=fetch brings the database
	@if ! command -v cargo-deny >/dev/null; then \
	  echo "SKIPPED: advisories of dependencies: cargo-deny is not installed (make cargo-deny)"; \
	elif [ "$(ADVISORIES)" = fetch ]; then \
	  $(CARGO) deny --locked --log-level error check advisories; \
	elif ls -d $(ADVISORY_DB)/*/ >/dev/null 2>&1; then \
	  $(CARGO) deny --offline --locked --log-level error check advisories; \
	else \
	  echo "==============================================================================="; \
	  echo "SKIPPED: the dependencies were NOT checked against known advisories: there is"; \
	  echo "no copy of RustSec's database here. Run \`make advisories ADVISORIES=fetch\`"; \
	  echo "where github.com can be reached, before each release."; \
	  echo "==============================================================================="; \
	fi

cargo-deny:
	@$(CARGO) deny --version 2>/dev/null | grep -qF " $(CARGO_DENY_VERSION)" || \
	  $(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked --quiet
	@$(CARGO) deny --version

doc: ## Builds the API's documentation; a broken link is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# What is compared is the newest tag before HEAD. There is nothing to compare before the first one.
semver: ## Compares the public API with that of the last tagged version
	@tag=$$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null); \
	if [ -z "$$tag" ]; then \
	  echo "no version is tagged yet: there is no API to compare with"; \
	else \
	  set -e; \
	  $(CARGO) semver-checks --version 2>/dev/null | grep -qF " $(CARGO_SEMVER_CHECKS_VERSION)" || \
	    $(CARGO) install cargo-semver-checks --version $(CARGO_SEMVER_CHECKS_VERSION) --locked --quiet; \
	  $(CARGO) semver-checks -p kfs-core --baseline-rev "$$tag"; \
	fi

package: ## Packs kfs-core as it would be published, and builds it from the package
	$(CARGO) publish --dry-run --locked -p kfs-core

TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
DIST := target/dist-archives
DIST_NAME := libkfs-$(VERSION)-$(TARGET)
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
DIST_CARGO = $(if $(filter $(HOST),$(TARGET)),$(CARGO) build,PATH="$(ZIG)/bin:$$PATH" cargo-zigbuild zigbuild)

dist: ## Packs command, libkfs.so, libkfs.a, header, licence, README and changelog for one platform: `make dist TARGET=aarch64-unknown-linux-gnu`
	$(DIST_CARGO) --locked --profile dist -p kfs-cli -p kfs-ffi --target $(TARGET)
	@rm -rf $(DIST)/$(DIST_NAME) && mkdir -p $(DIST)/$(DIST_NAME)/bin $(DIST)/$(DIST_NAME)/lib $(DIST)/$(DIST_NAME)/include
	@cp target/$(TARGET)/dist/kfs $(DIST)/$(DIST_NAME)/bin/
	@cp target/$(TARGET)/dist/libkfs.so target/$(TARGET)/dist/libkfs.a $(DIST)/$(DIST_NAME)/lib/
	@cp include/kfs.h $(DIST)/$(DIST_NAME)/include/
	@cp LICENSE README.md CHANGELOG.md $(DIST)/$(DIST_NAME)/
	@tar -C $(DIST) --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w \
	  --mtime="@$$(git log -1 --format=%ct)" -cf - $(DIST_NAME) | gzip -9n > $(DIST)/$(DIST_NAME).tar.gz
	@cd $(DIST) && ls -l $(DIST_NAME)/bin/* $(DIST_NAME)/lib/* $(DIST_NAME).tar.gz | awk '{ printf "%12d bytes  %s\n", $$5, $$9 }'

bench: ## Runs the benchmarks and prints their table; RECORD=1 puts it into docs/benchmarks.md
	@$(CARGO) bench -p kfs-benches --locked --bench table -- --forget
	$(CARGO) bench -p kfs-benches --locked --bench speed --bench footprint --bench stores
	@$(CARGO) bench -q -p kfs-benches --locked --bench table -- $(if $(RECORD),--record)

SEEDS ?= 20000
FROM ?= 0

KILLS ?= 1000

torture: servers ## Simulates many seeds, kills a writer, a server and maintenance KILLS times each, merges 10,000 segments, copies 1 GiB: `make torture SEEDS=n FROM=k`
	$(CARGO) run --quiet --locked -p kfs-sim -- --from $(FROM) --seeds $(SEEDS)
	KFS_KILL_ROUNDS=$(KILLS) $(CARGO) test --quiet --locked -p kfs-cli --test kill
	KFS_KILL_ROUNDS=$(KILLS) $(CARGO) test --quiet --locked -p kfs-tests --test killed_server
	KFS_KILL_ROUNDS=$(KILLS) $(CARGO) test --quiet --locked -p kfs-cli --test maintenance_killed
	KFS_MERGE_SEGMENTS=10000 $(CARGO) test --quiet --locked -p kfs-tests --test merge_many
	KFS_COPY_BYTES=1073741824 $(CARGO) test --quiet --locked -p kfs-cli --test copy_killed

nightly: torture mutants aarch64 known-wrong bench ## What is too slow for CI: SEEDS seeds, KILLS kills, every mutant, aarch64, a wrong S3 server, the benchmarks

known-wrong: $(SERVERS)/.s3s-fs-$(S3S_FS_VERSION) ## Shows that the check of a bucket finds a real S3 server wrong; installs it, which takes minutes
	$(CARGO) test --quiet --locked -p kfs-tests --test preflight -- --ignored

# Its own lock file names what it was built with. It is a program apart, and no dependency of anything here.
$(SERVERS)/.s3s-fs-$(S3S_FS_VERSION):
	$(CARGO) install --quiet --locked --features binary --root $(SERVERS)/.. s3s-fs@$(S3S_FS_VERSION)
	@touch $@

mutants: ## Shows that the simulation finds each fault put into the core on purpose
	$(CARGO) run --quiet --locked -p kfs-sim --features mutants -- --mutants --seeds 6000

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))

fuzz: ## Runs each fuzz target for FUZZ_SECONDS; needs cargo-fuzz and a nightly toolchain
	@command -v cargo-fuzz >/dev/null || \
	  { echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2; exit 1; }
	@$(CARGO) +nightly --version >/dev/null 2>&1 || \
	  { echo "a nightly toolchain is missing: rustup toolchain install nightly" >&2; exit 1; }
	cd fuzz && CARGO_TARGET_DIR="$(CURDIR)/target" $(CARGO) test --locked --no-default-features --test replay -- --ignored
	@set -e; for target in $(FUZZ_TARGETS); do \
	  echo "=== $$target: $(FUZZ_SECONDS) s"; \
	  $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048; \
	done

miri: ## Runs the tests of `format` under Miri; needs a nightly toolchain that has it
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || \
	  { echo "Miri is missing: rustup component add --toolchain nightly miri rust-src" >&2; exit 1; }
	PROPTEST_CASES=4 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 MIRIFLAGS=-Zmiri-disable-isolation \
	  $(CARGO) +nightly miri test --locked -p kfs-core --lib format:: -- --skip format::compression

servers: $(VERSITYGW_STAMP) $(TOXIPROXY_STAMP) $(AZURITE_STAMP) ## Installs the servers of the tests into .servers, once

# $(call server,NAME,TOOL,VARIABLE,COMMAND): the recipe that installs a server, once. TOOL is the command that it takes.
# Where it can't be had, the tests that need it are skipped and the recipe says so; in CI that is a failure.
# VARIABLE names a copy that is installed elsewhere.
define server
	@if [ -n "$$$(3)" ]; then exit 0; fi; \
	if command -v $(2) >/dev/null; then \
	  echo "installing $(1) into .servers; this can take some minutes, once"; \
	  if mkdir -p $(@D) && $(4) && touch $@; then exit 0; fi; \
	  why="its installation failed"; \
	else \
	  why="$(2) is not installed"; \
	fi; \
	echo "==============================================================================="; \
	echo "No $(1): $$why. The tests that need it WILL BE SKIPPED."; \
	echo "Everything else runs. Mend that, or let $(3) name an installed copy."; \
	echo "==============================================================================="; \
	[ -z "$$CI" ] || { echo "In CI nothing is skipped: this is a failure." >&2; exit 1; }
endef

GO_INSTALL := GOBIN=$(SERVERS) GOFLAGS=-mod=mod go install

$(VERSITYGW_STAMP):
	$(call server,versitygw $(VERSITYGW_VERSION),go,KFS_VERSITYGW,\
	  $(GO_INSTALL) github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION))

# Go names the program after its directory, `server`.
$(TOXIPROXY_STAMP):
	$(call server,toxiproxy $(TOXIPROXY_VERSION),go,KFS_TOXIPROXY,\
	  $(GO_INSTALL) github.com/Shopify/toxiproxy/v2/cmd/server@$(TOXIPROXY_VERSION) && \
	  mv $(SERVERS)/server $(SERVERS)/toxiproxy-server)

# No package runs a script of its own while it is installed. Asking for the version shows that this Node can run it.
$(AZURITE_STAMP):
	$(call server,azurite $(AZURITE_VERSION),npm,KFS_AZURITE,\
	  npm install --prefix $(AZURITE) --ignore-scripts --no-audit --no-fund --loglevel error azurite@$(AZURITE_VERSION) && \
	  $(AZURITE_BLOB) --version)

clean: ## Removes what builds made; installed servers stay
	$(CARGO) clean
