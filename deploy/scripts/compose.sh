#!/usr/bin/env bash
# `make compose-test`: tests docker-compose.yml and deploy/compose.tls.yml with the Docker engine of this machine. All roles start, the
# quickstart works, a page is compiled, an account has its pages and keys, a turn completes although the process that drives it is killed, and
# another one with TLS between the roles. Uses a compose project of its own on free ports, which is removed at the end.
#   BACKLOT_IMAGE=name   use this image and do not build one
source "$(dirname "$0")/common.sh"

docker compose version >/dev/null 2>&1 || fail "docker compose is needed"
docker version >/dev/null 2>&1 || fail "the Docker engine does not answer"
have curl || fail "curl is needed"

work="$(mktemp -d)"
project="backlot-test-$$"

files=(--file docker-compose.yml --file "$work/override.yml")
compose() { docker compose --project-name "$project" --env-file /dev/null "${files[@]}" "$@"; }

finish() {
    local status=$?
    if ((status)); then
        say "failed; the last lines of the roles:"
        compose logs --no-color --tail 15 >&2 || true
    fi
    compose down --volumes --timeout 20 >"$work/down.log" 2>&1 || { cat "$work/down.log" >&2; status=1; }
    rm -rf "$work"
    exit "$status"
}

# Prints a port without a listener. Another process could take it before it is used.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    printf '%s' "$port"
}
port="$(free_port)"
preview_port="$port"
while [[ "$preview_port" == "$port" ]]; do preview_port="$(free_port)"; done

# override SERVICE...: prints what is other for these services than in the compose files.
override() {
    printf 'services:\n'
    for service in "$@"; do
        printf '  %s:\n' "$service"
        [[ -z "${BACKLOT_IMAGE:-}" ]] || printf '    image: %s\n' "$BACKLOT_IMAGE"
        # Slows the demo model down, so that a turn can be killed in the middle. Only the gateway publishes ports.
        case "$service" in
            gateway) printf '    ports: !override ["127.0.0.1:%s:8080", "127.0.0.1:%s:8081"]\n' "$port" "$preview_port" ;;
            agent-streaming) printf '    ports: !reset []\n    environment: { BACKLOT_DEMO_PACE: 60ms }\n' ;;
            certs | operator) printf '    restart: "no"\n' ;;
            *) printf '    ports: !reset []\n' ;;
        esac
    done
}
override gateway auth agent-streaming project-storage rate-limit compile >"$work/override.yml"
override certs operator >"$work/tls.yml"

unset ANTHROPIC_API_KEY OPENAI_API_KEY BACKLOT_MODEL BACKLOT_TLS COMPOSE_PROFILES COMPOSE_FILE OTEL_EXPORTER_OTLP_ENDPOINT SENTRY_DSN
BACKLOT_CLUSTER_SECRET="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export BACKLOT_CLUSTER_SECRET BACKLOT_PUBLIC_URL="http://localhost:$port" BACKLOT_PREVIEW_URL="http://localhost:$preview_port"
# Characters with a meaning in a URL, to test that the compose file escapes them.
export POSTGRES_PASSWORD='12/34#56?78@90%41'

trap finish EXIT
build=()
[[ -n "${BACKLOT_IMAGE:-}" ]] || build=(--build)
start() {
    compose up --detach --wait --wait-timeout 300 "$@" >"$work/up.log" 2>&1 || {
        cat "$work/up.log" >&2
        fail "the roles did not become healthy"
    }
}
say "starting $project on port $port"
start "${build[@]}"

url="http://localhost:$port"
request() { curl -sS --fail-with-body --max-time 180 --cookie-jar "$work/jar" --cookie "$work/jar" --header 'content-type: application/json' "$@"; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d '"' -f 4; }
# has TYPE FILE: whether the file contains an event of this type.
has() { grep -q "\"type\":\"$1\"" "$2"; }
# turn FILE BODY: runs a turn, and writes its events into the file.
turn() {
    request --no-buffer "$url/api/agent/stream" --data "$2" >"$1" || fail "the turn was not started"
    has turn.completed "$1" || fail "the turn did not complete: $(tail -n 3 "$1")"
}
# preview PROJECT FILE: opens the preview of a project, prints its URL, and writes its page into the file.
preview() {
    local address
    address="$(request "$url/api/projects/$1/previews" --data '{}' | field url)"
    curl -sS --fail-with-body --max-time 60 "$address" >"$2" || fail "the preview was not answered: $(head -c 2000 "$2")"
    printf '%s' "$address"
}

request "$url/api/auth/signup" --data '{"email":"ada@example.com","password":"correct horse battery staple 7"}' >"$work/account.json" || fail "sign-up failed"
turn "$work/events" '{"draftId":"my-first-app","prompt":"a to-do list"}'
app="$(field projectId <"$work/events")"
request "$url/api/projects/$app/files" | grep -q index.html || fail "the project has no index.html"
preview "$app" "$work/page" >/dev/null
grep -qi '<html' "$work/page" || fail "the preview is not an HTML page"
say "quickstart: ok ($(grep -c '"type"' "$work/events") events)"

# TSX without packages, because there may be no registry. The compiler runs with its limits and its filter inside of those of the container.
request "$url/api/projects/save" --data '{"draftId":"tsx","changes":[
    {"path":"index.html","write":{"text":"<!doctype html><title>TSX</title><body><script type=module src=/src/main.tsx></script>"}},
    {"path":"src/h.ts","write":{"text":"export const h = (name: string, _: unknown, text: string): Node => Object.assign(document.createElement(name), { textContent: text });\n"}},
    {"path":"src/main.tsx","write":{"text":"/** @jsxRuntime classic @jsx h */\nimport { h } from \"./h\";\nconst title: string = \"compiled\";\ndocument.body.append(<h1>{title}</h1>);\n"}}
]}' >"$work/saved" || fail "the project was not saved: $(cat "$work/saved")"
tsx="$(field id <"$work/saved")"
address="$(preview "$tsx" "$work/page")"
module="$(grep -o '@m/[0-9a-f]*\.js' "$work/page" | sort -u | while read -r name; do
    curl -sS --fail "$address$name" | grep -q '"compiled"' && printf '%s' "$name"
done || true)"
[[ -n "$module" ]] || fail "the page has no compiled module: $(cat "$work/page")"
request "$url/api/projects/$tsx/findings" >"$work/findings" || fail "there are no checks: $(cat "$work/findings")"
grep -q CHECKS_STATUS_CLEAN "$work/findings" || fail "the checks are not clean: $(cat "$work/findings")"
say "compile: ok"

curl -sS --fail "$url/account/sign-in" | grep -qi '<form' || fail "the page of the sign-in has no form"
request "$url/account/keys" | grep -qi '<form' || fail "the page of the API keys has no form"
key="$(request "$url/api/auth/keys" --data '{"displayName":"compose","scope":"API_KEY_SCOPE_READ"}' | field secret)"
[[ -n "$key" ]] || fail "there is no API key"
curl -sS --fail --header "authorization: Bearer $key" "$url/api/projects" | grep -q "$tsx" || fail "the API key lists no project"
curl -sS --fail --header "authorization: Bearer ${key}x" --output /dev/null "$url/api/projects" 2>/dev/null && fail "a wrong API key is accepted"
say "account: ok"

# The process that drives the second turn is killed and restarted. The turn must resume from its log.
: >"$work/second"
request --no-buffer "$url/api/agent/stream" --data "{\"projectId\":\"$app\",\"prompt\":\"make it dark\"}" >"$work/second" 2>"$work/second.err" &
viewer=$!
for ((n = 0; n < 600; n++)); do
    has step.started "$work/second" && break
    sleep 0.1
done
id="$(field turnId <"$work/second")"
[[ -n "$id" ]] || fail "the second turn did not start"
driver="$(compose ps --quiet agent-streaming)"
docker kill --signal KILL "$driver" >/dev/null
has turn.completed "$work/second" && fail "the turn ended before its process was killed"
count="$(grep -c '"type"' "$work/second" || true)"
docker start "$driver" >/dev/null
wait "$viewer" || say "the viewer's stream was cut: $(cat "$work/second.err")"
for ((n = 0; n < 40; n++)); do
    # The stream ends with the turn, or earlier so that the viewer reconnects.
    request --no-buffer "$url/api/turns/$id/events?after=0" >"$work/resumed" 2>/dev/null || true
    has turn.completed "$work/resumed" && break
    has turn.failed "$work/resumed" && fail "the turn failed: $(tail -n 3 "$work/resumed")"
    sleep 1
done
has turn.completed "$work/resumed" || fail "the turn did not complete: $(tail -n 3 "$work/resumed")"
stream="a new"
has turn.completed "$work/second" && stream="the same"
say "kill -9 of agent-streaming after $count events: the turn completed (seen on $stream stream)"

# The same roles with TLS. The health check of a role is a call to it.
files+=(--file deploy/compose.tls.yml --file "$work/tls.yml")
start
turn "$work/third" "{\"projectId\":\"$app\",\"prompt\":\"make it light\"}"
preview "$tsx" "$work/page" >/dev/null
for role in auth agent-streaming project-storage rate-limit compile; do
    compose exec -T "$role" backlot health "$role" || fail "$role does not answer with TLS"
    if compose exec -T --env BACKLOT_TLS=off "$role" backlot health "$role" 2>"$work/plain.err"; then fail "$role answers without TLS"; fi
    grep -q "the service does not answer" "$work/plain.err" || fail "$role was not asked without TLS: $(cat "$work/plain.err")"
    given="$(compose exec -T "$role" ls /etc/backlot/tls | sort)"
    [[ "$given" == "$(printf '%s\n' ca.pem "$role.key" "$role.pem" | sort)" ]] || fail "$role has other files than its own: $given"
done
compose run --rm -T operator admin users show ada@example.com >"$work/user" 2>&1 || fail "the operator was refused: $(cat "$work/user")"
say "TLS: ok"
say "compose: ok"
