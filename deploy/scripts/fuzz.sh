#!/usr/bin/env bash
# `make fuzz`: schemathesis against a cluster of its own with raised limits; no 5xx, and nothing that the OpenAPI document does not have.
#   CASES=n        about so many (20,000)
#   SEED=n         other cases
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
need_openapi_tools
export BACKLOT_OPENAPI_TOOLS="$openapi_folder"
export BACKLOT_FUZZ_CASES="${CASES:-20000}" BACKLOT_FUZZ_SEED="${SEED:-1}"
exec cargo test --quiet -p journeys --test openapi -- fuzz:: --nocapture
