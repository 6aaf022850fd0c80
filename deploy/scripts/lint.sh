#!/usr/bin/env bash
# `make lint`: checks formatting, clippy with warnings as errors, the rules of buf, licences, and advisories.
source "$(dirname "$0")/common.sh"

need_cargo
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
need_node_tools
(cd proto && "$buf" lint)
if have cargo-deny; then cargo deny check bans licenses sources; else say "bans, licences, sources: not run (cargo-deny is not installed)"; fi
deploy/scripts/advisories.sh
say "lint: ok"
