# Builds target/{{name}}.wasm: the bindings of the world in wit, the module, and a component of it.
set -e
need() { command -v "$1" >/dev/null || { echo "build: $1 is not there; $2" >&2; exit 127; }; }
need wit-bindgen "cargo install wit-bindgen-cli"
need go "install Go 1.25 or later"
mkdir -p target/build
cp -r go.mod export_app_service_greeter target/build/
wit-bindgen go wit --world service --out-dir target/build/bindings >/dev/null
rm -f target/build/bindings/go.mod
cp -r target/build/bindings/. target/build/
# checklinkname: what the bindings import asks Go's runtime for memory before that has begun.
(cd target/build && GOFLAGS=-mod=mod GOOS=wasip1 GOARCH=wasm \
    go build -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o module.wasm .)
"${IZNA:-izna}" component new target/build/module.wasm --wit wit --out target/{{name}}.wasm
