#!/usr/bin/env bash
# Looks up known vulnerabilities of the locked crates at RustSec and at OSV. Part of `make lint`. Prints "not run" if a database cannot be
# reached, and fails if an advisory is found. OSV_API is the URL of another OSV server.
source "$(dirname "$0")/common.sh"

use_installed_toolchain

if ! have cargo-deny; then
    say "advisories by RustSec: not run (cargo-deny is not installed)"
elif ! cargo deny fetch db >/dev/null 2>&1; then
    say "advisories by RustSec: not run (the database cannot be reached)"
else
    cargo deny check advisories
    say "advisories by RustSec: ok"
fi

if ! have node; then
    say "advisories by OSV: not run (Node.js is not installed)"
    exit
fi
status=0
node deploy/scripts/osv.mjs || status=$?
case "$status" in
    0) say "advisories by OSV: ok" ;;
    3) say "advisories by OSV: not run (the database cannot be reached)" ;;
    *) fail "advisories by OSV: found; update the crates, or list the ids with reasons under [advisories] in deny.toml" ;;
esac
