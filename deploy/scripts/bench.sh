#!/usr/bin/env bash
# (cargo check/clippy of the bin needs `--features bench` too)
# `make bench`: ratios to the floors, measured in one run, in the optimised profile.
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
have redis-server || have valkey-server || add_package redis-server redis || fail "Redis is needed"
exec cargo run --release --quiet -p e2e --features bench --bin bench --bin backlot-under-test
