#!/usr/bin/env bash
# `make chaos`: the cluster under faults, on two gateways, two agent-streaming, two project-storage, PostgreSQL and Redis of its own.
#   FULL=1         again and again for MINUTES (30), at least KILLS (200) and RECONNECTS (2000); without it, about four minutes
#   PLANTED=1      every seeded bug, or with BUG=name one: each must be found
#   ATTACK=1       strangers in place of faults: each attack for ten seconds and more beside a person whose calls succeed
#   SEED=n         the same choices again; each run names its own
#   ONLY=name      one scenario, once: calm, kills, failpoints, stops, engines, network, rolling, poison, deaf, unwritten or stale
#   CLIENTS=n      turns at a time (50)
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
have redis-server || add_package redis-server redis || fail "Redis is needed"
exec cargo run --quiet -p chaos
