# Builds target/{{name}}.wasm: the bindings of the world in wit, then the module.
set -e
need() { command -v "$1" >/dev/null || { echo "build: $1 is not there; $2" >&2; exit 127; }; }
need wit-bindgen "cargo install wit-bindgen-cli"
mkdir -p target

# The compiler: WASI_CC if it is set, else clang of WASI SDK, else that of the distribution with its wasi-libc.
links() {
    printf '#include <stdlib.h>\n__attribute__((export_name("f"))) void *f(size_t n) { return malloc(n); }\n' |
        "$1" "--target=$2" -O2 -mexec-model=reactor -x c - -o target/probe.wasm >/dev/null 2>&1
}
for clang in ${WASI_SDK_PATH:+"$WASI_SDK_PATH/bin/clang"} clang clang-21 clang-20 clang-19 clang-18 clang-17 clang-16; do
    for target in wasm32-wasip1 wasm32-wasi; do
        if [ -z "${WASI_CC:-}" ] && links "$clang" "$target"; then WASI_CC="$clang --target=$target"; fi
    done
done
[ -n "${WASI_CC:-}" ] || {
    echo "build: no clang with a WASI libc; install WASI SDK and set WASI_SDK_PATH," \
        "or: apt-get install clang lld wasi-libc libclang-rt-dev-wasm32" >&2
    exit 127
}

wit-bindgen c wit --world service --out-dir target >/dev/null
# The linker gives the stack 64 KiB and puts it above the data, which it then overwrites in silence: 1 MiB, and
# below the data, where running over its end is a trap.
$WASI_CC -O2 -Wall -mexec-model=reactor -Wl,-z,stack-size=1048576 -Wl,--stack-first -I target \
    -o target/{{name}}.wasm service.c target/service.c target/service_component_type.o
