#!/usr/bin/env bash
# `make sqlx`: regenerates the .sqlx folders. The query macros need a database, so a temporary private server is started.
source "$(dirname "$0")/common.sh"

need_cargo
bin="$(postgres_bin)" || fail "PostgreSQL is needed: apt-get install postgresql, or brew install postgresql@17"
[[ -x "$bin/psql" ]] && psql="$bin/psql" || psql="$(command -v psql)" || fail "psql is needed: apt-get install postgresql-client"
# A short path, because the length of a Unix socket path is limited.
work="$(mktemp -d /tmp/sqlx.XXXXXX)"

# PostgreSQL refuses to run as root.
drop=()
if [[ "$(id -u)" == 0 ]]; then
    drop=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chown nobody:nogroup "$work"
fi
in_work() { (cd "$work" && ${drop[@]+"${drop[@]}"} "$@"); }

stop() {
    in_work "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT

in_work "$bin/initdb" -U app -A trust -E UTF8 --locale=C --no-sync -D "$work/data" >/dev/null
in_work "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" -o "-k $work -c listen_addresses= -c fsync=off" start >/dev/null

for crate in services/auth services/agent-streaming services/project-storage services/compile; do
    package="$(basename "$crate")"
    database="${package//-/_}"
    sql=("$psql" -q -v ON_ERROR_STOP=1 -h "$work" -U app)
    "${sql[@]}" -d postgres -c "CREATE DATABASE $database"
    for migration in "$crate"/migrations/*.sql; do
        "${sql[@]}" -d "$database" -f "$migration"
    done
    fresh="$work/queries/$database"
    mkdir -p "$fresh"
    say "checking the SQL of $package"
    # The macros run only when the crate is compiled, so it is marked as changed. Tests are not compiled, because they may depend on other
    # services, whose tables are in other databases.
    touch "$crate/src/lib.rs"
    SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$fresh" DATABASE_URL="postgres://app@localhost/$database?host=$work" \
        cargo check --quiet -p "$package"
    rm -rf "$crate/.sqlx"
    cp -R "$fresh" "$crate/.sqlx"
    say "$package: $(find "$crate/.sqlx" -name 'query-*.json' | wc -l | tr -d ' ') statements"
done
