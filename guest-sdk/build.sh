#!/usr/bin/env bash
# Builds the guests in Rust, or only those named, to target/guests/NAME.wasm: core modules that carry their component type.
#   guest-sdk/build.sh [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

folder_of() {
    local folder
    for folder in components/"$1" tests/programs/"$1" components/languages/"${1/-//}"; do
        [ -e "$folder/Cargo.toml" ] && echo "$folder" && return
    done
}

names=("$@")
if [ $# = 0 ]; then
    for manifest in components/*/Cargo.toml tests/programs/*/Cargo.toml; do
        names+=("$(basename "$(dirname "$manifest")")")
    done
    for manifest in components/languages/rust/*/Cargo.toml; do
        names+=("rust-$(basename "$(dirname "$manifest")")")
    done
fi
selection=()
for name in "${names[@]}"; do
    if [ -z "$(folder_of "$name")" ]; then
        echo "build: no guest '$name' in components, components/languages or tests/programs" >&2
        exit 1
    fi
    selection+=(--package "$name")
done

environment=$("$root/guest-sdk/toolchain.sh")
eval "$environment"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/components/target}
quiet=--quiet
[ -t 2 ] && quiet= # a person sees the progress of a build that takes minutes
cd components # where .cargo/config.toml has the linker's flags
# shellcheck disable=SC2086 # no flags are no argument
cargo build $quiet --release --target wasm32-unknown-unknown ${IZNA_GUEST_FLAGS:-} "${selection[@]}"

mkdir -p "$root/target/guests"
for name in "${names[@]}"; do
    module=$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/${name//-/_}.wasm
    copy=$root/target/guests/$name.wasm
    # An unchanged module keeps its time, so that nothing downstream is rebuilt.
    if ! cmp -s "$module" "$copy"; then
        # Not in place: a test may have the old one open.
        cp "$module" "$copy.new" && mv "$copy.new" "$copy"
        echo "guest: $name $(($(stat -c %s "$copy") / 1024)) KiB"
    fi
done
