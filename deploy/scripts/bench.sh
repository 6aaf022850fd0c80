#!/usr/bin/env bash
# `make bench`: ratios to the floors, measured in one run, in the optimised profile. `deploy/scripts/bench.sh only stream` runs a part,
# `only scale-512` one size of `scale`; the parts are in tests/bench/src/lib.rs.
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
have redis-server || have valkey-server || add_package redis-server redis || fail "Redis is needed"
# 2,000 streams have 4,000 ends in one process.
ulimit -Sn "$(ulimit -Hn)"
# Built alone, so that the cluster under measurement has no failpoints (see tests/bench/Cargo.toml).
exec cargo run --release --quiet -p bench -- "$@"
