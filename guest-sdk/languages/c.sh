# C: clang of WASI SDK where WASI_SDK_PATH says, else Debian's with its WASI libc.

c_packages=(clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32)

c_compiler() {
    if [ -n "${WASI_SDK_PATH:-}" ]; then echo "$WASI_SDK_PATH/bin/clang --target=wasm32-wasip1"; else
        echo "clang-19 --target=wasm32-wasi"
    fi
}

c_tools() {
    bindings_tools
    c_ready && return
    [ -z "${WASI_SDK_PATH:-}" ] || fail "there is no working clang in $WASI_SDK_PATH" "unset WASI_SDK_PATH, or set it right"
    command -v apt-get >/dev/null ||
        fail "there is no clang for WASI, and this is not a Debian system" "install WASI SDK and set WASI_SDK_PATH"
    say "installing ${c_packages[*]} (about 500 MB)"
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends install "${c_packages[@]}")
    quietly as_root "${get[@]}" || { quietly as_root apt-get -q update && quietly as_root "${get[@]}"; } || true
    c_ready || fail "apt-get did not install a clang for WASI" "as root: apt-get install ${c_packages[*]}"
}

# Whether it makes a program of a header, the library and the compiler's own functions.
c_ready() {
    local test
    test=$(mktemp -d)
    echo '#include <stdlib.h>
        __attribute__((export_name("f"))) void *f(size_t n, __int128 a) { return malloc(n + (size_t)(a / 3)); }' >"$test/a.c"
    # shellcheck disable=SC2046 # words
    local code=0
    $(c_compiler) -O2 -mexec-model=reactor -o "$test/a.wasm" "$test/a.c" >/dev/null 2>&1 || code=1
    rm -rf "$test"
    return $code
}

c_environment() { echo "export WASI_CC='$(c_compiler)'"; }

# c_build SERVICE FILE: a core module that carries its type; a deploy makes a component of it.
c_build() {
    local made=$work/c/$1
    local world=${1//-/_}_service
    wit-bindgen c "$(wit_of "$1")" --world "$1-service" --out-dir "$made" &&
        $(c_compiler) -O2 -Wall -Wextra -mexec-model=reactor -Wl,--strip-debug \
            -Wl,-z,stack-size=1048576 -Wl,--stack-first -I "$made" -o "$2" \
            "$source/c/$1.c" "$made/$world.c" "$made/${world}_component_type.o"
}
