#!/usr/bin/env bash
# Generates docs/settings.md from the code. Run it after a change of a setting; a test fails if the page is out of date.
source "$(dirname "$0")/common.sh"

need_cargo
BACKLOT_WRITE_DOCS=1 cargo test --quiet --package backlot --lib settings::page
