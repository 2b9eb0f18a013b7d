# The commands of the README. Each says what it does; `make` alone lists them.
CARGO ?= cargo
IZNA  := target/release/izna
# Whatever is built, with the features that the whole workspace asks for: then nothing is built twice.
BUILD := $(CARGO) build --release --workspace
comma := ,

.PHONY: help agreement cases demo demo-stop test guests guests-rust build bench bench-languages bench-peers paper fuzz sim placement adoption clean

help:
	@echo "make demo         three nodes on this machine, the TeX service deployed, a page to open"
	@echo "make demo-stop    end the demo's nodes"
	@echo "make test         everything that CI checks: format, lints, tidy, tests"
	@echo "make cases        small inputs that were once answered wrongly, on the built binary: what is right"
	@echo "                  now (LONG=1: those that take long too; ONLY=name,name)"
	@echo "make bench        the benchmarks, about five minutes once it is built"
	@echo "make bench-languages  what the same services cost in each language: the table of docs/languages.md"
	@echo "make bench-peers  a wasi:http component beside wasmtime serve and plain hyper, rounds interleaved"
	@echo "make paper        the paper's experiments and some beyond, about eight minutes, into target/paper"
	@echo "                  (ONLY=scaling,joining,losing,disturbed,idle SHORT=1 OUT=folder)"
	@echo "make sim          the simulator over 1000 seeds (SEEDS=n for more)"
	@echo "make placement    how good placement is: the grid, its goals, docs/placement.md (FULL=1: everything)"
	@echo "make agreement    the simulator beside a real cluster of four nodes: docs/placement/agreement.md"
	@echo "make adoption     how a component spreads over six nodes by itself: docs/placement/adoption.md"
	@echo "make fuzz         each decoder's fuzz target, and values of components, for a minute each (needs"
	@echo "                  cargo-fuzz and a nightly)"
	@echo "make build        the izna binary, in $(IZNA)"
	@echo "make guests       the WebAssembly components in all languages, in target/guests; installs the"
	@echo "                  compilers of C, JavaScript, Python and Go (docs/languages.md)"
	@echo "make guests-rust  those in Rust alone: all that the demo and the benchmarks need"

build:
	@echo "building $(IZNA) (the first time takes some minutes: it holds a compiler)"
	$(BUILD) --bin izna

guests-rust:
	@guest-sdk/build.sh

guests: guests-rust
	@echo "building izna, which makes components of Go's modules"
	@$(BUILD) --quiet --bin izna
	@guest-sdk/languages.sh

# The guests of the demo alone: others need crates of their own.
demo: build
	@guest-sdk/build.sh page cache renderer
	@components/tex/demo.sh start

demo-stop:
	@components/tex/demo.sh stop

test: guests
	@$(CARGO) xtask ci

cases: build guests-rust
	@$(BUILD) --bin cases
	@LONG=$(LONG) target/release/cases $(subst $(comma), ,$(ONLY))

bench: build guests-rust
	@$(CARGO) bench --workspace --bench micro --bench threads --bench migration
	@$(BUILD) --bin bench-cluster
	@target/release/bench-cluster

bench-languages: build guests
	@$(CARGO) bench --workspace --bench languages

bench-peers: build guests-rust
	@benches/peers.sh
	@$(BUILD) --bin bench-peers --bin bench-hello
	@target/release/bench-peers

paper: build guests-rust
	@$(BUILD) --bin bench-paper
	@target/release/bench-paper $(addprefix --only=,$(ONLY)) $(if $(SHORT),--short) $(addprefix --out=,$(OUT))

sim:
	@$(CARGO) run --release --package izna-sim -- run --seeds $(or $(SEEDS),1000)

placement:
	@$(CARGO) run --release --package izna-sim --bin placement -- grid $(if $(FULL),--full)

agreement: build guests-rust
	@$(BUILD) --bin bench-agreement
	@target/release/bench-agreement

adoption: build guests
	@$(BUILD) --bin bench-adoption
	@target/release/bench-adoption

fuzz:
	@cd tests/fuzz && for target in $$(cargo +nightly fuzz list --fuzz-dir .); do \
		echo "fuzzing $$target for 60 s"; mkdir -p corpus/$$target; \
		cargo +nightly fuzz run --fuzz-dir . $$target corpus/$$target ../conformance/vectors \
			-- -max_total_time=60 || exit 1; \
	done
	@echo "fuzzing values for 60 s: random types, their values, and changed bytes"
	@IZNA_FUZZ_SECONDS=60 $(CARGO) test --release --workspace --lib -- value::tests

clean:
	@components/tex/demo.sh stop 2>/dev/null || true
	$(CARGO) clean
	rm -rf components/target
