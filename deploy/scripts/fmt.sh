#!/usr/bin/env bash
# `make fmt`: formats the source with the pinned toolchain.
source "$(dirname "$0")/common.sh"

need_cargo
cargo fmt --all
