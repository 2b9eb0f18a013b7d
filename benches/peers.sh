#!/usr/bin/env bash
# Sets up what bench-peers measures Izna against: `wasmtime serve` in target/tools, and a wasi:http component for it in
# target/guests. What is there already is kept.
set -euo pipefail
cd "$(dirname "$0")/.."
version=48.0.8
tools=$PWD/target/tools

if [ ! -x "$tools/bin/wasmtime" ] || ! "$tools/bin/wasmtime" --version | grep -q "$version"; then
    echo "peers: installing wasmtime-cli $version; its release build takes about twelve minutes of processor time" >&2
    CARGO_TARGET_DIR=$tools/build cargo install --quiet wasmtime-cli --version "$version" --locked --root "$tools"
    rm -rf "$tools/build"
fi

guest=target/guests/hello-http.wasm
if [ ! -e "$guest" ] || [ benches/hello-http/src/lib.rs -nt "$guest" ]; then
    # Without rustup the compiler has the target already, or the build says that it has not.
    if command -v rustup >/dev/null; then
        rustup --quiet target add wasm32-wasip2
    fi
    build=$tools/hello-http
    CARGO_TARGET_DIR=$build cargo build --quiet --release --target wasm32-wasip2 --manifest-path benches/hello-http/Cargo.toml
    mkdir -p target/guests
    cp "$build/wasm32-wasip2/release/hello_http.wasm" "$guest"
    echo "peers: $guest $(($(stat -c %s "$guest") / 1024)) KiB" >&2
fi
