#!/usr/bin/env bash
# Builds the services of components/languages that are not in Rust, to target/guests/LANGUAGE-SERVICE.wasm, and
# installs their compilers first, each by its own client (apt-get, npm, pip, cargo), into target/tools where that can be.
#   guest-sdk/languages.sh [c|js|python|go ...]   all when none is named; what has not changed is not built again
#   guest-sdk/languages.sh --environment          install, and print what a shell needs to use the tools, for eval
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
here=$root/guest-sdk/languages
tools=$root/target/tools
source=$root/components/languages
work=$root/target/languages
out=$root/target/guests
all=(c js python go)

say() { echo "languages: $*" >&2; }

# What is wrong, and how to mend it.
fail() {
    echo "languages: $1" >&2
    echo "languages: to mend it: $2" >&2
    exit 1
}

# Runs a command and shows what it says only if it fails.
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then rm -f "$log"; else
        tail -n 30 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

# fresh NAME FILES...: whether NAME was last made of just these files, wherever they lie.
fresh() {
    local name=$1 digest
    shift
    digest=$(digest_of "$@")
    [ "$(cat "$tools/$name.made" 2>/dev/null)" = "$digest" ]
}

# made NAME FILES...: remember that it was.
made() {
    local name=$1
    shift
    mkdir -p "$tools"
    digest_of "$@" >"$tools/$name.made"
}

digest_of() {
    find "$@" -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum |
        sed "s|$root/||" | sha256sum
}

# wrapper NAME LINES...: a command in target/tools/bin.
wrapper() {
    local name=$1
    shift
    mkdir -p "$tools/bin"
    printf '%s\n' '#!/usr/bin/env bash' "$@" >"$tools/bin/$name"
    chmod +x "$tools/bin/$name"
}

# pip_install FOLDER REQUIREMENTS: packages of Python into a folder of their own.
pip_install() {
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "python3 with pip is not there" "install it, as: apt-get install python3-pip"
    rm -rf "$1"
    quietly python3 -m pip install --quiet --no-deps --target "$1" --requirement "$2" ||
        fail "pip cannot install $(cat "$2")" "check the network, then run this again"
}

# The generators of bindings for C and Go.
bindings_tools() {
    command -v cargo >/dev/null || fail "cargo is not there" "install Rust: https://rustup.rs"
    fresh bindings "$root/guest-sdk/bindings" && [ -x "$tools/bin/wit-bindgen" ] && return
    say "building the generators of bindings for C and Go"
    (cd "$root/guest-sdk/bindings" && CARGO_TARGET_DIR=$tools/bindings cargo build --quiet --locked) ||
        fail "the generators of bindings cannot be built" "see above"
    wrapper wit-bindgen "exec '$tools/bindings/debug/bindings' \"\$@\""
    made bindings "$root/guest-sdk/bindings"
}

# shellcheck source=/dev/null
for language in "${all[@]}"; do . "$here/$language.sh"; done

services=(renderer cache hello)

# wit_of SERVICE: the package that it is written for.
wit_of() { if [ "$1" = hello ]; then echo "$source/hello-wit"; else echo "$source/wit"; fi; }

# build LANGUAGE: what changed of its services.
build() {
    local language=$1
    local made_of=("$here/$language.sh" "$root/guest-sdk/languages.sh" "$source/wit" "$source/hello-wit"
        "$source/$language")
    [ -d "$here/$language" ] && made_of+=("$here/$language")
    [ -d "$here/$language-http" ] && made_of+=("$here/$language-http")
    case $language in c | go) made_of+=("$root/guest-sdk/bindings") ;; esac
    fresh "services-$language" "${made_of[@]}" &&
        (cd "$out" && ls $(printf "$language-%s.wasm " "${services[@]}")) >/dev/null 2>&1 && return
    "${language}_tools"
    mkdir -p "$work/$language" "$out"
    local service
    for service in "${services[@]}"; do
        "${language}_build" "$service" "$work/$language/$service.wasm" ||
            fail "the $service in $language cannot be built" "see above"
        # Not in place: a test may have the old one open.
        mv "$work/$language/$service.wasm" "$out/$language-$service.wasm"
        echo "guest: $language-$service $(($(stat -c %s "$out/$language-$service.wasm") / 1024)) KiB"
    done
    made "services-$language" "${made_of[@]}"
}

if [ "${1:-}" = --environment ]; then
    for language in "${all[@]}"; do "${language}_tools"; done
    c_environment
    go_environment
    echo "export PATH='$tools/bin':\"\$PATH\""
    exit
fi
languages=("$@")
[ $# = 0 ] && languages=("${all[@]}")
for language in "${languages[@]}"; do
    [ -e "$here/$language.sh" ] || fail "no language '$language'" "name one of: ${all[*]}"
done
export PATH=$tools/bin:$PATH
for language in "${languages[@]}"; do build "$language"; done
