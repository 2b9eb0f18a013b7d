#!/usr/bin/env bash
# The demo: three nodes as three processes on this machine, the TeX service deployed, a page to open.
# The nodes go on in the background until `stop`.
# With IZNA_DEMO_RECORD=1 each node records what its core is told: target/demo/node-1.rec and so on,
# to be played again with `izna-sim play FILE`.
#   demo.sh start | stop
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
izna=$top/target/release/izna
dir=$top/target/demo

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

stop() {
    [ -d "$dir" ] || return 0
    for file in "$dir"/*.pid; do
        [ -e "$file" ] || continue
        pid=$(cat "$file")
        # Only what this script started: a number alone may be someone else's by now.
        if [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$izna" ] ||
            [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$izna (deleted)" ]; then
            kill "$pid" && say "ended $(basename "$file" .pid)"
            while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        fi
        rm -f "$file"
    done
}

# The value of a key in a line of flat JSON.
value() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$2"; }

# The address if nothing listens there, else port 0: any free one.
free_or_any() {
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then echo 127.0.0.1:0; else echo "127.0.0.1:$1"; fi
}

start_node() {
    local name=$1 listen=$2 manage=$3
    "$izna" node --output json --identity "$dir/cluster/$name.identity" --data "$dir/data/$name" \
        --listen "$listen" --manage "$manage" ${IZNA_DEMO_RECORD:+--record "$dir/$name.rec"} >"$dir/$name.json" 2>"$dir/$name.log" </dev/null &
    echo $! >"$dir/$name.pid"
    disown
    for _ in $(seq 200); do
        grep -q '"ready"' "$dir/$name.json" && return
        kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || break
        sleep 0.05
    done
    cat "$dir/$name.log" >&2
    fail "$name did not start; its log is above"
}

start() {
    [ -x "$izna" ] || fail "there is no $izna; run \`make demo\`"
    stop
    rm -rf "$dir"
    mkdir -p "$dir"
    say "making a cluster of three nodes in target/demo"
    "$izna" cluster init "$dir/cluster" --name demo >/dev/null
    for n in 1 2 3; do "$izna" cluster add-node "node-$n" --cluster "$dir/cluster" >/dev/null; done
    say "starting the nodes"
    start_node node-1 "$(free_or_any 8080)" "$(free_or_any 9070)"
    start_node node-2 "$(free_or_any 8081)" "$(free_or_any 9071)"
    start_node node-3 "$(free_or_any 8082)" "$(free_or_any 9072)"
    local manage url
    manage=http://$(value manage "$dir/node-1.json")
    url=$(value url "$dir/node-1.json")
    say "deploying the TeX service (each node compiles it once)"
    "$izna" deploy "$top/components/tex" --node "$manage"
    "$izna" nodes --node "$manage"
    say ""
    say "try      curl --globoff -i '$url/tex?f=\\frac{a}{b}'"
    say "look     $izna nodes --node $manage"
    say "lose     kill -9 \$(cat target/demo/node-2.pid)"
    say "logs     target/demo/node-1.log and so on"
    say "stop     make demo-stop"
    say "open     $url/"
}

case ${1:-} in
start) start ;;
stop) stop ;;
*) fail "demo.sh start or demo.sh stop" ;;
esac
