#!/usr/bin/env bash
# A disaster, and the way back: loads all 336,776 flights that left New York in 2013 into a log,
# archives it in a local S3 server (versitygw), destroys the disk of the Styx server, restores, and
# compares byte for byte.
#
#   examples/archive/drill.sh
#
# STYX       the styx binary (default: target/release/styx or target/debug/styx)
# VERSITYGW  the versitygw binary (default: the one of the tests, or the one in the path)
# FLIGHTS    where flights.csv is kept (default: target/flights)
# WORK       where the servers keep their data (default: a temporary directory)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
flights=${FLIGHTS:-$root/target/flights}
csv=$flights/flights.csv

fail() {
    echo "drill.sh: $*" >&2
    exit 1
}

FLIGHTS=$flights "$root/examples/curl/flights.sh" prepare
styx=${STYX:-}
for built in "$root/target/release/styx" "$root/target/debug/styx"; do
    [ -n "$styx" ] || [ ! -x "$built" ] || styx=$built
done
[ -x "$styx" ] || fail "no styx binary: run 'cargo build --release' first, or set STYX"
versitygw=${VERSITYGW:-$root/target/tools/versitygw-1.8.0/versitygw}
[ -x "$versitygw" ] || versitygw=$(command -v versitygw) ||
    fail "no versitygw: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0, or set VERSITYGW"

work=${WORK:-$(mktemp -d)}
server= store=
finish() {
    for process in $server $store; do
        kill "$process" 2>/dev/null && wait "$process" || true
    done
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# An S3 server. A folder is a bucket.
mkdir -p "$work/objects/history"
endpoint=http://127.0.0.1:$(free_port)
export AWS_ACCESS_KEY_ID=drill AWS_SECRET_ACCESS_KEY=drill-secret AWS_REGION=us-east-1
"$versitygw" --port "${endpoint#http://}" --keep-alive --quiet \
    --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" \
    posix "$work/objects" >"$work/store.log" 2>&1 &
store=$!
until curl --silent --output /dev/null "$endpoint"; do
    kill -0 $store || fail "versitygw does not start: $(cat "$work/store.log")"
    sleep 0.1
done

# A Styx server with this data directory. It keeps only the newest records of each log on the disk.
serve() {
    "$styx" serve --bind-address 127.0.0.1:0 --data-directory "$1" --port-file "$1.port" \
        --set archive.url=s3://history/drill --set archive.endpoint="$endpoint" \
        --set archive.max_lag=1 --set archive.local_max_size=1 2>>"$work/styx.log" >/dev/null &
    server=$!
    until [ -e "$1.port" ]; do
        kill -0 $server || fail "the server does not start: $(cat "$work/styx.log")"
        sleep 0.1
    done
    export STYX_HOST=http://127.0.0.1:$(cat "$1.port")
}

serve "$work/first"
"$styx" logs create flights --segment-max-size 4194304 >/dev/null
tail -n +2 "$csv" >"$work/loaded"
records=$(wc -l <"$work/loaded")
"$styx" logs write flights <"$work/loaded"
echo "loaded $records records"

until "$styx" logs get flights | grep -q "^archived_position:[^0-9]*$records$"; do
    sleep 0.2
done
echo "archived $records records"

kill -9 $server
wait $server 2>/dev/null || true
rm -r "$work/first"
echo "the disk is gone"

"$styx" restore --from s3://history/drill --endpoint "$endpoint" --data-directory "$work/second" >/dev/null
serve "$work/second"
echo "restored, with $(du -sk "$work/second" | cut -f 1) KiB on the disk"

"$styx" logs read flights >"$work/read"
cmp "$work/loaded" "$work/read" || fail "the restored log differs"
echo "every byte is the same"
"$styx" archive verify --read --url s3://history/drill --endpoint "$endpoint"
