#!/usr/bin/env bash
# Writes docs/settings.md from the code, after a change of a setting. A test fails while the page differs.
source "$(dirname "$0")/common.sh"

need_cargo
BACKLOT_WRITE_DOCS=1 cargo test --quiet --package backlot --lib settings::page
