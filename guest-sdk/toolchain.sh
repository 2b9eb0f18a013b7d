#!/usr/bin/env bash
# Makes sure that Rust can build for wasm32-unknown-unknown, and prints the environment that such a build needs, for
# eval. Says on standard error what it sets up; says nothing when all is there.
#
# First choice: rustup's target. Where rustup cannot get it: the Debian packages of a whole compiler (rustc-web) and
# of the standard library's source, which cargo then builds along. IZNA_GUEST_TOOLCHAIN=rustup or =distribution
# allows only that one; IZNA_RUSTUP_TIMEOUT_S is how long rustup may take.
set -euo pipefail

target=wasm32-unknown-unknown
way=${IZNA_GUEST_TOOLCHAIN:-any}
packages=(rustc-web rust-web-src)
distribution_rustc=/usr/bin/rustc
minor_min=88

main() {
    case $way in any | rustup | distribution) ;; *) fail "IZNA_GUEST_TOOLCHAIN is '$way'" "unset it, or say rustup or distribution" ;; esac
    command -v cargo >/dev/null || fail "cargo is not there" "install Rust: https://rustup.rs"

    if [ "$way" != distribution ]; then
        own_target_ready && return
        # Before rustup, because what is there needs no network.
        if [ "$way" = any ] && distribution_ready; then
            print_distribution
            return
        fi
        if add_rustup_target; then
            say "added rustup's target $target"
            return
        fi
    fi
    if [ "$way" != rustup ]; then
        if ! distribution_ready; then
            install_packages
            distribution_ready || fail "${packages[*]} do not hold a compiler with source for $target" \
                "rustup target add $target"
            say "installed ${packages[*]}; the guests' standard library is built from source"
        fi
        print_distribution
        return
    fi
    fail "rustup could not add $target" "check the network, then: rustup target add $target"
}

say() { echo "toolchain: $*" >&2; }

fail() {
    echo "toolchain: no way to build for $target: $1" >&2
    echo "toolchain: to mend it: $2" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        fail "installing ${packages[*]} needs root, and there is no sudo" "as root: apt-get install ${packages[*]}"
    fi
}

# Whether the compiler in use has the target, from rustup or from wherever.
own_target_ready() {
    local sysroot
    sysroot=$(rustc --print sysroot 2>/dev/null) && compgen -G "$sysroot/lib/rustlib/$target/lib/libstd-*" >/dev/null
}

add_rustup_target() {
    command -v rustup >/dev/null || return 1
    local log
    if log=$(timeout "${IZNA_RUSTUP_TIMEOUT_S:-20}" rustup target add "$target" 2>&1) && own_target_ready; then
        return
    fi
    say "rustup cannot add $target: $(tail -n 1 <<<"${log:-no answer in time}")"
    # An interrupted download may be half unpacked; rustup takes away what it knows of.
    rustup target remove "$target" >/dev/null 2>&1 || true
    return 1
}

distribution_ready() {
    [ -x "$distribution_rustc" ] || return 1
    local sysroot version
    sysroot=$("$distribution_rustc" --print sysroot)
    [ -e "$sysroot/lib/rustlib/src/rust/library/std/Cargo.toml" ] || return 1
    version=$("$distribution_rustc" --version | sed -E 's/^rustc 1\.([0-9]+)\..*/\1/')
    [ "$version" -ge "$minor_min" ] && linker >/dev/null
}

# The linker for Wasm: rustup's compiler brings one along, else the distribution's.
linker() {
    local sysroot lld
    if sysroot=$(rustc --print sysroot 2>/dev/null); then
        for lld in "$sysroot"/lib/rustlib/*/bin/rust-lld; do
            [ -x "$lld" ] && echo "$lld" && return
        done
    fi
    command -v wasm-ld
}

install_packages() {
    command -v apt-get >/dev/null || fail "rustup could not add it, and this is not a Debian system" "rustup target add $target"
    linker >/dev/null || packages+=(lld)
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    say "installing ${missing[*]} (about 500 MB)"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # All is downloaded before anything is unpacked, so a broken network leaves nothing behind.
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends)
    if ! as_root "${get[@]}" install --download-only "${missing[@]}" >"$log" 2>&1; then
        as_root "${get[@]}" update >"$log" 2>&1 || true
        as_root "${get[@]}" install --download-only "${missing[@]}" >>"$log" 2>&1 ||
            fail "apt-get cannot download ${missing[*]}: $(grep '^E:' "$log" | tail -n 1)" \
                "rustup target add $target, or: apt-get install ${missing[*]}"
    fi
    if ! as_root "${get[@]}" install "${missing[@]}" >"$log" 2>&1; then
        local reason
        reason=$(grep '^E:' "$log" | tail -n 1)
        as_root "${get[@]}" purge "${missing[@]}" >/dev/null 2>&1 || true
        fail "apt-get cannot install ${missing[*]}: $reason" "apt-get install ${missing[*]}"
    fi
}

print_distribution() {
    echo "export RUSTC=$distribution_rustc RUSTC_BOOTSTRAP=1"
    echo "export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(linker)"
    echo "export IZNA_GUEST_FLAGS=-Zbuild-std=std,panic_abort"
}

main
