# Builds target/{{name}}.wasm.
set -e
need() { command -v "$1" >/dev/null || { echo "build: $1 is not there; $2" >&2; exit 127; }; }
need componentize-py "pip install componentize-py==0.25.1"
mkdir -p target
componentize-py -d wit -w service componentize service -o target/{{name}}.wasm
