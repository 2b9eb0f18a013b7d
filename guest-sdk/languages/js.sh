# JavaScript: componentize-qjs, an interpreter (QuickJS) with the script in it.

js_tools() {
    local node=0
    command -v npm >/dev/null && node=$(node --version | sed -E 's/^v([0-9]+).*/\1/')
    [ "$node" -ge 18 ] || fail "npm with Node.js 18 or later is not there" "install Node.js"
    fresh js "$here/js" && [ -x "$tools/bin/componentize-qjs" ] && return
    say "installing componentize-qjs (40 MB)"
    mkdir -p "$tools/js"
    cp "$here/js/package.json" "$here/js/package-lock.json" "$tools/js/"
    # Not `npm ci`: it misses the packages for other systems, of which some were never published.
    (cd "$tools/js" && quietly npm install --no-fund --no-audit) ||
        fail "npm cannot install componentize-qjs" "check the network, then run this again"
    wrapper componentize-qjs "exec '$tools/js/node_modules/.bin/componentize-qjs' \"\$@\""
    made js "$here/js"
}

# What speaks HTTP itself needs the interpreter that has the web's library (StarlingMonkey, 12 MB).
js_http_tools() {
    fresh js-http "$here/js-http" && [ -d "$tools/js-http/node_modules" ] && return
    say "installing componentize-js (390 MB)"
    mkdir -p "$tools/js-http"
    cp "$here"/js-http/* "$tools/js-http/"
    (cd "$tools/js-http" && quietly npm install --no-fund --no-audit) ||
        fail "npm cannot install componentize-js" "check the network, then run this again"
    made js-http "$here/js-http"
}

# --sync: without the functions of WASI 0.3; --stub-wasi: the interpreter needs nothing of it.
js_build() {
    if [ "$1" = hello ]; then
        js_http_tools
        quietly node "$tools/js-http/build.mjs" "$source/js/hello.js" "$source/hello-wit" hello-service "$2"
        return
    fi
    quietly componentize-qjs --wit "$(wit_of "$1")" --world "$1-service" --js "$source/js/$1.js" \
        --sync --stub-wasi -o "$2"
}
