#!/usr/bin/env bash
# `make lint`: formatting, clippy with warnings as errors, the contract's rules.
source "$(dirname "$0")/common.sh"

need_cargo
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
need_node_tools
(cd proto && "$buf" lint)
if have cargo-deny; then cargo deny check bans licenses sources; else say "bans, licences, sources: not run (there is no cargo-deny)"; fi
deploy/scripts/advisories.sh
say "lint: ok"
