# Builds target/{{name}}.wasm: the bindings of the world in wit, then the module.
set -e
need() { command -v "$1" >/dev/null || { echo "build: $1 is not there; $2" >&2; exit 127; }; }
WASI_CC=${WASI_CC:-${WASI_SDK_PATH:+$WASI_SDK_PATH/bin/}clang --target=wasm32-wasip1}
need wit-bindgen "cargo install wit-bindgen-cli"
need "${WASI_CC%% *}" "install WASI SDK and set WASI_SDK_PATH, or name another compiler in WASI_CC"
wit-bindgen c wit --world service --out-dir target >/dev/null
$WASI_CC -O2 -Wall -mexec-model=reactor -I target -o target/{{name}}.wasm \
    service.c target/service.c target/service_component_type.o
