#!/usr/bin/env bash
# Summarises the output of cargo test: the failed tests, and the totals of all test programs.
set -euo pipefail
grep -E '^(test .* \.\.\. FAILED|error: .* (failed|could not compile).*)$' "$1" | sort -u || true
awk '
    /^test result: / {
        for (i = 1; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
            if ($i ~ /^ignored/) ignored += $(i - 1)
        }
        programs++
    }
    END { printf "test result: %s. %d passed; %d failed; %d ignored; in %d test programs\n", (failed || !programs) ? "FAILED" : "ok", passed, failed, ignored, programs }
' "$1"
