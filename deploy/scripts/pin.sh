#!/usr/bin/env bash
# Writes the digest behind every image that the compose file and the Dockerfile name, where a registry can be reached. An image whose
# registry does not answer keeps its line: a digest is read, never made up. Again, it takes the digests of today.
source "$(dirname "$0")/common.sh"

have docker || fail "docker asks the registries: it is not here, nothing is pinned"

missing=0
# pin FILE WORD: every line "WORD image…" of the file.
pin() {
    local file="$1" word="$2" image plain digest
    while IFS= read -r image; do
        plain="${image%%@*}"
        [[ "$plain" == *:* && "$plain" != *:local ]] || continue
        digest="$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$plain" 2>/dev/null)" || digest=
        if [[ "$digest" =~ ^sha256:[0-9a-f]{64}$ ]]; then
            sed -i.old "s|^\( *$word\) $image|\1 $plain@$digest|" "$file" && rm -f "$file.old"
            say "$plain: $digest"
        else
            say "$plain: not pinned, its registry does not answer"
            missing=$((missing + 1))
        fi
    done < <(sed -n "s|^ *$word \([^ ]*\).*|\1|p" "$file" | sort -u)
}
pin docker-compose.yml "image:"
pin deploy/Dockerfile "FROM"
((missing == 0)) || fail "$missing images are not pinned by digest"
