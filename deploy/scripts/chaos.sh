#!/usr/bin/env bash
# `make chaos`: injects faults into a cluster with two replicas of each role and its own PostgreSQL and Redis.
#   FULL=1         repeat for MINUTES (30), with at least KILLS (200) and RECONNECTS (2000); without it, one round of each scenario
#   PLANTED=1      run with each seeded bug, or with BUG=name only with this one; each must be found
#   ATTACK=1       attacks in place of faults: each lasts at least ten seconds, while the calls of a bystander must succeed
#   SEED=n         repeat the random choices of an earlier run, which has printed its seed
#   ONLY=name      one scenario, once: no-faults, kills, failpoints, pauses, engines, network, rolling, poison,
#                  redis-outage, lost-writes or stale-workers
#   SAMPLE=n       end a process at one of n failpoints, chosen at random (1: at all; `make test`: 12)
#   CLIENTS=n      concurrent turns (50)
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
have redis-server || add_package redis-server redis || fail "Redis is needed"
exec cargo run --quiet -p chaos
