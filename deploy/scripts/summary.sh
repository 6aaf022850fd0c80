#!/usr/bin/env bash
# Summarises the output of cargo test: why tests failed (at most 60 lines each), their names, and the totals of all test programs.
set -euo pipefail
awk '
    /^---- .* ----$/ { is_shown = 1; lines = 0 }
    /^failures:$/ { is_shown = 0 }
    is_shown && lines++ < 60
' "$1"
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
