#!/usr/bin/env bash
# `make test`: every test, on private PostgreSQL and Redis that the tests start and stop themselves.
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler

# Names of packages to install, one line each: what is missing, apt's name, Homebrew's name.
missing=()
postgres_bin >/dev/null || missing+=("PostgreSQL:postgresql:postgresql@17")
have redis-server || have valkey-server || missing+=("Redis:redis-server:redis")
have chromium || have chromium-browser || have google-chrome || [[ -d "/Applications/Google Chrome.app" ]] || missing+=("Chromium:chromium:")
have npm || missing+=("npm, for buf:npm:node")

if ((${#missing[@]})); then
    say "the tests need: $(printf '%s; ' "${missing[@]%%:*}")"
    agree "Install them?" || fail "not without these"
    for entry in "${missing[@]}"; do
        IFS=: read -r name apt brew <<<"$entry"
        add_package "$apt" "$brew" || fail "$name could not be installed; install it with your package manager"
    done
fi
need_buf

(cd proto && "$buf" lint) || fail "buf lint: the contract breaks a rule"
say "buf lint: ok"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?
deploy/scripts/summary.sh "$log"
exit "$status"
