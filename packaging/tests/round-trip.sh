#!/bin/bash
# Starts a server, writes and reads a log with the same program, stops the server, and verifies
# its files. The arguments are a call of styx.
set -euo pipefail

styx=("$@")
scratch=$(mktemp -d)
trap 'kill "${server:-}" 2> /dev/null || true; rm -rf "$scratch"' EXIT

"${styx[@]}" version
"${styx[@]}" serve --bind-address 127.0.0.1:0 --data-directory "$scratch/data" \
    --port-file "$scratch/port" > "$scratch/output" 2>&1 &
server=$!
until [ -e "$scratch/port" ]; do
    kill -0 "$server" || { cat "$scratch/output"; exit 1; }
    sleep 0.05
done
STYX_HOST=127.0.0.1:$(cat "$scratch/port")
export STYX_HOST

"${styx[@]}" logs create orders > /dev/null
seq 1 1000 | "${styx[@]}" logs write orders
"${styx[@]}" logs read orders --count 1000 > "$scratch/read"
seq 1 1000 | diff - "$scratch/read"

kill "$server"
wait "$server"
"${styx[@]}" verify "$scratch/data"
