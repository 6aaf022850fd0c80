#!/usr/bin/env bash
# `make bench`: measures the ratios to the baselines in one run, in the release profile. `deploy/scripts/bench.sh only stream` runs one
# part, and `only scale-512` one size of `scale`. tests/bench/src/lib.rs lists the parts.
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
have redis-server || have valkey-server || add_package redis-server redis || fail "Redis is needed"
# `previews` compares with Vite.
if [[ $# == 0 || " $* " == *" previews "* ]]; then
    need_node_tools
    export BACKLOT_NODE_MODULES="$node_folder"
    need_vite
    export BACKLOT_VITE="$vite_folder"
    chromium_path >/dev/null || add_package chromium chromium || fail "Chromium is needed"
    BACKLOT_CHROMIUM="$(chromium_path)"
    export BACKLOT_CHROMIUM
    cargo build --release --quiet -p compiler
fi
# `tokens` runs turns on published templates.
if [[ $# == 0 || " $* " == *" tokens "* ]]; then
    need_token_trees
    export BACKLOT_TOKEN_TREES="$trees_folder"
fi
# `sign-in` compares the password hash with the one of @node-rs/argon2.
if [[ $# == 0 || " $* " == *" sign-in "* ]]; then
    need_node_argon2
    export BACKLOT_NODE_ARGON2="$argon2_folder"
fi
# One process has both ends of 2,000 streams, which are 4,000 sockets.
ulimit -Sn "$(ulimit -Hn)"
# Built without other packages, so that the cluster under measurement has no failpoints (see tests/bench/Cargo.toml).
exec cargo run --release --quiet -p bench -- "$@"
