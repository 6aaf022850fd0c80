#!/usr/bin/env bash
# `make bench`: ratios to the floors, measured in one run, in the optimised profile. `deploy/scripts/bench.sh only stream` runs a part,
# `only scale-512` one size of `scale`; the parts are in tests/src/bin/bench/main.rs.
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
have redis-server || have valkey-server || add_package redis-server redis || fail "Redis is needed"
# 2,000 streams have 4,000 ends in one process.
ulimit -Sn "$(ulimit -Hn)"
# The feature keeps the measurements out of every other build of the tests, and the faults of the others out of this one.
exec cargo run --release --quiet -p e2e --no-default-features --features bench --bin bench -- "$@"
