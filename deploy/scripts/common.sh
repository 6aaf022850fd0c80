# Functions for the other scripts: messages, and the installation of what they need.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/backlot"
buf_version=1.75.0

say() { printf 'backlot: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

interactive() { [[ -z "${CI:-}" && "${YES:-}" != 1 && -t 0 && -t 2 ]]; }

# Asks a question. The answer is yes without a terminal, in CI and with YES=1.
agree() {
    interactive || return 0
    local answer
    read -r -p "backlot: $1 [Y/n] " answer
    [[ -z "$answer" || "$answer" == [yYjJ]* ]]
}

as_root() {
    if [[ "$(id -u)" == 0 ]]; then
        "$@"
    elif have sudo; then
        # Without a terminal sudo must not ask for a password.
        if interactive; then sudo "$@"; else sudo -n "$@"; fi
    else
        return 1
    fi
}

apt_fresh=
apt_install() {
    say "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    if [[ -z "$apt_fresh" ]]; then
        as_root apt-get update -qq || return 1
        apt_fresh=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# add_package APT_PACKAGE BREW_PACKAGE: installs the package with apt-get or with Homebrew.
add_package() {
    if have apt-get; then
        apt_install "$1"
    elif have brew && [[ -n "$2" ]]; then
        say "installing $2 with brew"
        brew install --quiet "$2"
    else
        return 1
    fi
}

# Prints the folder of initdb and postgres: from the PATH, or the newest one of the usual folders.
postgres_bin() {
    local candidate
    if have initdb && have postgres; then
        # Resolve a symbolic link on the PATH, because the other programs are beside its target.
        candidate="$(command -v initdb)"
        dirname "$(readlink -f "$candidate" 2>/dev/null || printf '%s' "$candidate")"
        return
    fi
    while IFS= read -r candidate; do
        if [[ -x "$candidate/initdb" && -x "$candidate/postgres" ]]; then
            printf '%s\n' "$candidate"
            return
        fi
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin /usr/pgsql-*/bin | sort -rV)
    return 1
}

# used_postgres DATA_FOLDER: prints the folder of the programs that `backlot up` will use, by the same rules: the version that created the
# data; for new data the newest version from 14 on; of equal versions the first one, so that the PATH has precedence.
used_postgres() {
    local needed="" newest=13 found="" folder major
    [[ -r "$1/postgres/data/PG_VERSION" ]] && needed="$(cut -d . -f 1 <"$1/postgres/data/PG_VERSION")"
    while IFS= read -r folder; do
        folder="$(dirname "$(readlink -f "$folder/postgres" 2>/dev/null || printf '%s' "$folder/postgres")")"
        [[ -x "$folder/initdb" && -x "$folder/postgres" ]] || continue
        major="$("$folder/postgres" --version 2>/dev/null | sed -n 's/^[^0-9]*\([0-9][0-9]*\).*/\1/p')"
        if [[ -n "$major" && "$major" -gt "$newest" && ( -z "$needed" || "$major" == "$needed" ) ]]; then
            newest="$major" found="$folder"
        fi
    done < <(
        tr : '\n' <<<"$PATH"
        printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/local/pgsql/bin \
            /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
            /Applications/Postgres.app/Contents/Versions/*/bin
    )
    [[ -n "$found" ]] && printf '%s\n' "$found"
}

# Debian installs pgbouncer into a folder that only the PATH of root contains.
pgbouncer_path() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v pgbouncer
}

need_cargo() {
    [[ -f "$HOME/.cargo/env" ]] && . "$HOME/.cargo/env"
    have cargo || fail "no Rust toolchain was found: install one from https://rustup.rs"
    use_installed_toolchain
}

# rustup would download the toolchain of rust-toolchain.toml. An installed toolchain of the same version under another name, such as
# `stable`, is used instead.
use_installed_toolchain() {
    have rustup && [[ -z "${RUSTUP_TOOLCHAIN:-}" ]] || return 0
    local pinned installed name
    pinned="$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)"
    installed="$(rustup toolchain list | cut -d ' ' -f 1)"
    grep -q "^$pinned-" <<<"$installed" && return
    for name in $installed; do
        if [[ "$(rustup run "$name" rustc --version)" == "rustc $pinned "* ]]; then
            export RUSTUP_TOOLCHAIN="$name"
            return
        fi
    done
}

# Rust needs a C compiler as its linker, and some crates compile C.
need_compiler() {
    have cc || {
        agree "Rust needs a C compiler, and none was found. Install it?" || fail "a C compiler is needed"
        if [[ "$(uname)" == Darwin ]]; then fail "run: xcode-select --install"; fi
        add_package build-essential "" || fail "install a C compiler with your package manager (Debian: apt-get install build-essential)"
    }
}

# Installs buf, playwright-core and axe-core from npm into a folder that is named by the pinned versions. Sets buf and node_folder.
need_node_tools() {
    node_folder="$cache/node-buf-$buf_version-browser-$(cksum <tests/journeys/browser/package.json | cut -d ' ' -f 1)"
    buf="$node_folder/node_modules/.bin/buf"
    [[ -f "$node_folder/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for buf: install Node.js"
    say "downloading buf $buf_version, playwright-core and axe-core from npm"
    mkdir -p "$node_folder"
    cp tests/journeys/browser/package.json "$node_folder/"
    npm install --silent --no-audit --no-fund --no-package-lock --prefix "$node_folder" "@bufbuild/buf@$buf_version" >&2
    touch "$node_folder/complete"
}

# Installs the password hash that the bench compares with, from npm. Sets argon2_folder.
need_node_argon2() {
    argon2_folder="$cache/argon2-2.2.1"
    [[ -f "$argon2_folder/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for @node-rs/argon2: install Node.js"
    say "downloading @node-rs/argon2 from npm"
    mkdir -p "$argon2_folder"
    npm install --silent --no-audit --no-fund --no-package-lock --prefix "$argon2_folder" "@node-rs/argon2@2.2.1" >&2
    touch "$argon2_folder/complete"
}

# Installs the chat clients of the tests, and the Node.js that the newest of them needs, from npm into a folder that is named by the pinned
# versions. Sets client_folder.
need_chat_clients() {
    client_folder="$cache/clients-$(cksum <tests/journeys/clients/package.json | cut -d ' ' -f 1)"
    [[ -f "$client_folder/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for the chat clients: install Node.js"
    say "downloading the AI SDK (three major versions), the AG-UI client and their Node.js from npm"
    mkdir -p "$client_folder"
    cp tests/journeys/clients/package.json "$client_folder/"
    npm install --silent --no-audit --no-fund --no-package-lock --prefix "$client_folder" >&2
    touch "$client_folder/complete"
}

# Installs Vite with the packages of the projects that the bench previews, and the Node.js that runs it, from npm into a folder that is named by
# the pinned versions. Sets vite_folder.
need_vite() {
    vite_folder="$cache/vite-$(cksum <tests/bench/vite/package.json | cut -d ' ' -f 1)"
    [[ -f "$vite_folder/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for Vite: install Node.js"
    say "downloading Vite, its plugins, the packages of the measured projects and their Node.js from npm"
    mkdir -p "$vite_folder"
    cp tests/bench/vite/package.json "$vite_folder/"
    npm install --silent --no-audit --no-fund --no-package-lock --prefix "$vite_folder" >&2
    touch "$vite_folder/complete"
}

# Installs the tools that read the OpenAPI document (linters, client generators, schemathesis) from npm and PyPI into a folder that is named
# by the pinned versions. Sets openapi_folder.
need_openapi_tools() {
    openapi_folder="$cache/openapi-$(cat tests/journeys/openapi/package.json tests/journeys/openapi/requirements.txt | cksum | cut -d ' ' -f 1)"
    [[ -f "$openapi_folder/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for the OpenAPI tools: install Node.js"
    have python3 || add_package python3 python || fail "Python 3 is needed for schemathesis: install it"
    say "downloading OpenAPI linters and generators from npm and PyPI"
    mkdir -p "$openapi_folder"
    cp tests/journeys/openapi/package.json "$openapi_folder/"
    npm install --silent --no-audit --no-fund --no-package-lock --prefix "$openapi_folder" >&2
    # On Debian the venv module needs the package python3-venv.
    if ! python3 -m venv --clear "$openapi_folder/venv" >/dev/null 2>&1; then
        add_package python3-venv "" && python3 -m venv --clear "$openapi_folder/venv" || fail "python3 -m venv fails: install the venv module of Python 3"
    fi
    "$openapi_folder/venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/journeys/openapi/requirements.txt >&2
    touch "$openapi_folder/complete"
}

# Downloads the published packages of npm and PyPI that a list pins, unless FOLDER has them already.
#   need_packages LIST FOLDER WHAT
need_packages() {
    [[ -f "$2/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for $3: install Node.js"
    python3 -m pip --version >/dev/null 2>&1 || add_package python3-pip python || fail "pip is needed for $3"
    say "downloading $3"
    mkdir -p "$2"
    python3 tests/archives/fetch.py "$1" "$2" >&2
    touch "$2/complete"
}

# The project templates that the tests compile, in a folder that is named by the pinned versions. Sets packages_folder.
need_compiler_packages() {
    packages_folder="$cache/compiler-packages-$(cksum <services/compiler/tests/packages.txt | cut -d ' ' -f 1)"
    need_packages services/compiler/tests/packages.txt "$packages_folder" "the project templates that the tests compile"
}

# The packages of agents that the tests mount, in a folder that is named by the pinned versions. Sets agents_folder.
need_agent_packages() {
    agents_folder="$cache/agent-packages-$(cksum <services/agent-streaming/tests/packages.txt | cut -d ' ' -f 1)"
    need_packages services/agent-streaming/tests/packages.txt "$agents_folder" "the packages of agents that the tests mount"
}

# The published project templates that prompts are measured with, unpacked in a folder that is named by the pinned versions. Sets trees_folder.
need_token_trees() {
    trees_folder="$cache/token-trees-$(cksum <tests/bench/tokens/packages.txt | cut -d ' ' -f 1)"
    need_packages tests/bench/tokens/packages.txt "$trees_folder" "the project templates that prompts are measured with"
    local archive
    for archive in "$trees_folder"/*.tgz; do
        [[ -d "${archive%.tgz}" ]] && continue
        rm -rf "${archive%.tgz}.part" && mkdir "${archive%.tgz}.part"
        tar -xzf "$archive" -C "${archive%.tgz}.part" --strip-components=1 && mv "${archive%.tgz}.part" "${archive%.tgz}"
    done
}

# Installs the packages that the tests bundle, in a folder that is named by the lock file. Sets bundled_folder.
need_bundled_packages() {
    bundled_folder="$cache/bundled-packages-$(cksum <services/compiler/tests/packages/package-lock.json | cut -d ' ' -f 1)"
    [[ -f "$bundled_folder/complete" ]] && return
    { have npm && have node; } || add_package npm node || fail "npm is needed for the packages that the tests bundle: install Node.js"
    say "installing the packages that the tests bundle"
    mkdir -p "$bundled_folder"
    cp services/compiler/tests/packages/package*.json "$bundled_folder/"
    (cd "$bundled_folder" && npm ci --ignore-scripts --no-audit --no-fund >&2)
    touch "$bundled_folder/complete"
}

# The packages that the tests import, in a folder that is named by the pinned versions. Sets archives_folder.
need_archives() {
    archives_folder="$cache/archives-$(cksum <tests/archives/packages.txt | cut -d ' ' -f 1)"
    need_packages tests/archives/packages.txt "$archives_folder" "the published packages that the tests import"
}

# Lets the npm that services/npm/tests/answers pins resolve the dependency sets of services/npm/tests and those of `backlot vendor warm`, and
# stores its answers with the packuments in a folder that is named by the sets and the scripts. Sets answers_folder.
need_npm_answers() {
    { have npm && have node; } || add_package npm node || fail "npm is needed for its answers: install Node.js"
    local sets=services/npm/tests/sets warm=services/backlot/data/warm.json
    answers_folder="$cache/npm-answers-$(cat services/npm/tests/answers/* "$sets"/*.json "$warm" | cksum | cut -d ' ' -f 1)"
    [[ -f "$answers_folder/complete" ]] && return
    # Answers of different days may differ.
    rm -rf "$answers_folder"
    say "asking npm for the packages of the dependency sets"
    node services/npm/tests/answers/fetch.mjs "$sets" "$warm" "$answers_folder" >&2
    touch "$answers_folder/complete"
}

# Prints the path of Chromium or Chrome. Fails if there is none.
chromium_path() {
    local candidate
    for candidate in chromium chromium-browser google-chrome; do
        command -v "$candidate" && return
    done
    for candidate in Chromium "Google Chrome"; do
        candidate="/Applications/$candidate.app/Contents/MacOS/$candidate"
        if [[ -x "$candidate" ]]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}
