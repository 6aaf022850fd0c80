#!/usr/bin/env bash
# `make compose-test`: tests docker-compose.yml with the Docker engine of this machine. All roles start, the quickstart works, and a turn
# completes although the process that drives it is killed. Uses a compose project of its own on free ports, which is removed at the end.
#   BACKLOT_IMAGE=name   use this image and do not build one
source "$(dirname "$0")/common.sh"

docker compose version >/dev/null 2>&1 || fail "docker compose is needed"
docker version >/dev/null 2>&1 || fail "the Docker engine does not answer"
have curl || fail "curl is needed"

work="$(mktemp -d)"
project="backlot-test-$$"

compose() {
    docker compose --project-name "$project" --env-file /dev/null --file docker-compose.yml --file "$work/override.yml" "$@"
}

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

# Slows the demo model down, so that a turn can be killed in the middle. Only the gateway publishes ports.
{
    printf 'services:\n'
    for role in gateway auth agent-streaming project-storage rate-limit compile; do
        printf '  %s:\n' "$role"
        [[ -z "${BACKLOT_IMAGE:-}" ]] || printf '    image: %s\n' "$BACKLOT_IMAGE"
        case "$role" in
            gateway) printf '    ports: !override ["127.0.0.1:%s:8080", "127.0.0.1:%s:8081"]\n' "$port" "$preview_port" ;;
            agent-streaming) printf '    ports: !reset []\n    environment: { BACKLOT_DEMO_PACE: 60ms }\n' ;;
            *) printf '    ports: !reset []\n' ;;
        esac
    done
} >"$work/override.yml"

unset ANTHROPIC_API_KEY OPENAI_API_KEY BACKLOT_MODEL COMPOSE_PROFILES COMPOSE_FILE OTEL_EXPORTER_OTLP_ENDPOINT SENTRY_DSN
BACKLOT_CLUSTER_SECRET="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export BACKLOT_CLUSTER_SECRET BACKLOT_PUBLIC_URL="http://localhost:$port" BACKLOT_PREVIEW_URL="http://localhost:$preview_port"
# Characters with a meaning in a URL, to test that the compose file escapes them.
export POSTGRES_PASSWORD='12/34#56?78@90%41'

trap finish EXIT
build=()
[[ -n "${BACKLOT_IMAGE:-}" ]] || build=(--build)
say "starting $project on port $port"
compose up --detach --wait --wait-timeout 300 "${build[@]}" >"$work/up.log" 2>&1 || {
    cat "$work/up.log" >&2
    fail "the roles did not become healthy"
}

url="http://localhost:$port"
request() { curl -sS --fail-with-body --max-time 180 --cookie-jar "$work/jar" --cookie "$work/jar" --header 'content-type: application/json' "$@"; }
field() { grep -o "\"$1\":\"[^\"]*\"" | head -1 | cut -d '"' -f 4; }
# has TYPE FILE: whether the file contains an event of this type.
has() { grep -q "\"type\":\"$1\"" "$2"; }

request "$url/api/auth/signup" --data '{"email":"ada@example.com","password":"correct horse battery staple 7"}' >"$work/account.json" || fail "sign-up failed"
request --no-buffer "$url/api/agent/stream" --data '{"draftId":"my-first-app","prompt":"a to-do list"}' >"$work/events" || fail "the turn was not started"
has turn.completed "$work/events" || fail "the turn did not complete: $(tail -n 3 "$work/events")"
app="$(field projectId <"$work/events")"
request "$url/api/projects/$app/files" | grep -q index.html || fail "the project has no index.html"
preview="$(request "$url/api/projects/$app/previews" --data '{}' | field url)"
curl -sS --fail --max-time 30 "$preview" | grep -qi '<html' || fail "the preview is not an HTML page"
say "quickstart: ok ($(grep -c '"type"' "$work/events") events)"

# The process that drives the second turn is killed and restarted. The turn must resume from its log.
: >"$work/second"
request --no-buffer "$url/api/agent/stream" --data "{\"projectId\":\"$app\",\"prompt\":\"make it dark\"}" >"$work/second" 2>"$work/second.err" &
viewer=$!
for ((n = 0; n < 600; n++)); do
    has step.started "$work/second" && break
    sleep 0.1
done
turn="$(field turnId <"$work/second")"
[[ -n "$turn" ]] || fail "the second turn did not start"
driver="$(compose ps --quiet agent-streaming)"
docker kill --signal KILL "$driver" >/dev/null
has turn.completed "$work/second" && fail "the turn ended before its process was killed"
count="$(grep -c '"type"' "$work/second" || true)"
docker start "$driver" >/dev/null
wait "$viewer" || say "the viewer's stream was cut: $(cat "$work/second.err")"
for ((n = 0; n < 40; n++)); do
    # The stream ends with the turn, or earlier so that the viewer reconnects.
    request --no-buffer "$url/api/turns/$turn/events?after=0" >"$work/resumed" 2>/dev/null || true
    has turn.completed "$work/resumed" && break
    has turn.failed "$work/resumed" && fail "the turn failed: $(tail -n 3 "$work/resumed")"
    sleep 1
done
has turn.completed "$work/resumed" || fail "the turn did not complete: $(tail -n 3 "$work/resumed")"
stream="a new"
has turn.completed "$work/second" && stream="the same"
say "kill -9 of agent-streaming after $count events: the turn completed (seen on $stream stream)"
say "compose: ok"
