#!/usr/bin/env bash
# Writes src/bindings/{process,memory}.rs and wit/ again after a change of the WIT files at the top of the repository.
# The results are committed: a user's build then needs neither the WIT files nor the generator.
set -euo pipefail
cd "$(dirname "$0")"

version=0.61.1
if ! command -v wit-bindgen >/dev/null || [ "$(wit-bindgen --version)" != "wit-bindgen-cli $version" ]; then
    echo "bindings.sh: needs wit-bindgen $version: cargo install wit-bindgen-cli --version $version --locked" >&2
    exit 1
fi

rm -rf wit
for package in process memory; do
    mkdir -p "wit/$package"
    cp ../../wit/$package/*.wit "wit/$package/"
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
wit-bindgen rust wit/process --world component --pub-export-macro --export-macro-name __export_handler \
    --default-bindings-module '$crate::bindings::process' --runtime-path '::wit_bindgen::rt' \
    --out-dir "$folder" >/dev/null
wit-bindgen rust wit/memory --world imports --out-dir "$folder" >/dev/null

for pair in process:component memory:imports; do
    {
        echo "//! Bindings of wit/${pair%%:*}, written by bindings.sh. Not for editing, and not for direct use."
        cat "$folder/${pair##*:}.rs"
    } >"src/bindings/${pair%%:*}.rs"
done
