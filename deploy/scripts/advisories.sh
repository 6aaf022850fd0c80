#!/usr/bin/env bash
# Known faults of the locked crates, by RustSec and by OSV. Part of `make lint`. What cannot reach its data says "not run"; what is found
# fails. OSV_API names another database than OSV's own.
source "$(dirname "$0")/common.sh"

use_installed_toolchain

if ! have cargo-deny; then
    say "advisories by RustSec: not run (there is no cargo-deny)"
elif ! cargo deny fetch db >/dev/null 2>&1; then
    say "advisories by RustSec: not run (the database cannot be reached)"
else
    cargo deny check advisories
    say "advisories by RustSec: ok"
fi

if ! have node; then
    say "advisories by OSV: not run (there is no Node.js)"
    exit
fi
status=0
node deploy/scripts/osv.mjs || status=$?
case "$status" in
    0) say "advisories by OSV: ok" ;;
    3) say "advisories by OSV: not run (the database cannot be reached)" ;;
    *) fail "advisories by OSV: there are some; update the crate, or name the id with its reason under [advisories] in deny.toml" ;;
esac
