#!/usr/bin/env bash
# `make test`: runs all tests. They start and stop private PostgreSQL and Redis servers.
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler

# Missing programs as NAME:APT_PACKAGE:BREW_PACKAGE.
missing=()
postgres_bin >/dev/null || missing+=("PostgreSQL:postgresql:postgresql@17")
have redis-server || missing+=("Redis:redis-server:redis")
pgbouncer_path >/dev/null || missing+=("PgBouncer:pgbouncer:pgbouncer")
{ have prometheus && have promtool; } || missing+=("Prometheus:prometheus:prometheus")
chromium_path >/dev/null || missing+=("Chromium:chromium:chromium")
have unzip || missing+=("unzip:unzip:unzip")
{ have npm && have node; } || missing+=("Node.js with npm:npm:node")

if ((${#missing[@]})); then
    say "the tests need $(printf '%s, ' "${missing[@]%%:*}" | sed 's/, $//')"
    agree "Install?" || fail "the tests cannot run without them"
    for entry in "${missing[@]}"; do
        IFS=: read -r name apt brew <<<"$entry"
        add_package "$apt" "$brew" || fail "$name could not be installed; install it with your package manager"
        # The tests start their own servers. The service of the package is not needed, and Prometheus would listen on port 9090 of all addresses.
        if have systemctl && [[ "$apt" == prometheus || "$apt" == pgbouncer ]]; then
            as_root systemctl disable --quiet --now "$apt" 2>/dev/null || true
        fi
    done
fi
need_node_tools
export BACKLOT_BUF="$buf"
export BACKLOT_NODE_MODULES="$node_folder"
need_chat_clients
export BACKLOT_CLIENT_MODULES="$client_folder"
need_archives
export BACKLOT_ARCHIVES="$archives_folder"
need_agent_packages
export BACKLOT_AGENT_PACKAGES="$agents_folder"
need_npm_answers
export BACKLOT_NPM_ANSWERS="$answers_folder"
need_compiler_packages
export BACKLOT_TEMPLATES="$packages_folder"
need_bundled_packages
export BACKLOT_COMPILER_PACKAGES="$bundled_folder"
need_openapi_tools
export BACKLOT_OPENAPI_TOOLS="$openapi_folder"
BACKLOT_CHROMIUM="$(chromium_path)"
export BACKLOT_CHROMIUM

(cd proto && "$buf" lint) || fail "buf lint: the contract violates a rule"
say "buf lint: ok"

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
# Both steps run, so that one run shows all failures.
programs() { cargo test --workspace --no-run --message-format=json-render-diagnostics | deploy/scripts/programs.py; }
examples() { cargo test --workspace --doc --no-fail-fast; }
status=0
programs 2>&1 | tee "$log" || status=$?
examples 2>&1 | tee -a "$log" || status=$?
deploy/scripts/summary.sh "$log"
exit "$status"
