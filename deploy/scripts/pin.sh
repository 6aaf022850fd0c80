#!/usr/bin/env bash
# Pins every image in the compose file and the Dockerfile to the current digest of its tag. The line of an image is left unchanged if its
# registry does not answer. Run it again to update the digests.
source "$(dirname "$0")/common.sh"

have docker || fail "docker is needed to query the registries; no image was pinned"

missing=0
# pin FILE WORD: pins the image of every line "WORD image" in the file.
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
            say "$plain: not pinned, the registry does not answer"
            missing=$((missing + 1))
        fi
    done < <(sed -n "s|^ *$word \([^ ]*\).*|\1|p" "$file" | sort -u)
}
pin docker-compose.yml "image:"
pin deploy/Dockerfile "FROM"
((missing == 0)) || fail "$missing images are not pinned by digest"
