#!/usr/bin/env bash
# `make fuzz`: reads archives, paths, page tokens and files of npm packages that are changed at random, compares histories of projects with
# a reference, keeps every set of `backlot vendor warm`, then runs schemathesis against a cluster with raised limits. Fails on a broken rule of an
# input, on a difference from the reference, on a set that cannot be kept, on a 5xx answer and on an answer that the OpenAPI document does not
# describe.
#   CASES=n        the approximate number of requests (20,000)
#   SEED=n         the seed of the changed inputs and of the sequences (random; a failure prints it), and of the generated requests (1)
source "$(dirname "$0")/common.sh"

need_cargo
need_compiler
postgres_bin >/dev/null || add_package postgresql postgresql@17 || fail "PostgreSQL is needed"
need_openapi_tools
# Ten changed inputs of each target for each request.
export BACKLOT_FUZZ_CASES="$((${CASES:-20000} * 10))"
[[ -z "${SEED:-}" ]] || export BACKLOT_FUZZ_SEED="$SEED" BACKLOT_MODEL_SEED="$SEED"
cargo test --quiet -p fuzz --test targets
cargo test --quiet -p project-storage --lib archive::read::fuzz
cargo test --quiet -p npm --test it fuzz::
# Hostile source files and packages in workers of the compiler, and changed files, one for each two requests. Optimised, because only then a file
# has the time of an installation, and the kernel kills a worker after three seconds.
BACKLOT_MUTATIONS="$((${CASES:-20000} / 2))" cargo test --release --quiet -p compiler --test it -- --nocapture mutated_files hostile:: hostile_packages::
BACKLOT_LONG=1 cargo test --quiet -p compiler --test sandbox
# Sequences of operations on projects, compared with a reference, one for each hundred requests.
BACKLOT_MODEL_CASES="$((${CASES:-20000} / 100))" cargo test --quiet -p project-storage --test it model::
# Fetches the tarballs of all sets from the registry that npm is set up for.
BACKLOT_WARM_ALL=1 cargo test --quiet -p journeys --test operators vendored_apps::
export BACKLOT_OPENAPI_TOOLS="$openapi_folder"
export BACKLOT_FUZZ_CASES="${CASES:-20000}" BACKLOT_FUZZ_SEED="${SEED:-1}"
exec cargo test --quiet -p journeys --test openapi -- fuzz:: --nocapture
