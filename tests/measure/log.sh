#!/usr/bin/env bash
# Measures writing and reading real data, and the restart of a log with 1 GiB.
#
#   cargo build --release && cargo xtask flights
#   tests/measure/log.sh [ROUNDS]
#
# Prints medians. Writes the flights file with `styx logs write`, reads it with
# `styx logs read` and with curl, and compares it. The restart is timed from the start
# of the process until the log is open.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
styx=$PWD/target/release/styx
flights=${FLIGHTS:-target/flights/flights.csv}
work=$(mktemp -d -p "${MEASURE_DIR:-/var/tmp}")
export STYX_HOST=http://127.0.0.1:7183
trap 'kill "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

start() {
  "$styx" serve -b 127.0.0.1:7183 -d "$work/data" > /dev/null 2> "$work/err" &
  server=$!
  until curl -sf $STYX_HOST/health/ready > /dev/null; do sleep 0.01; done
}
now() { date +%s%N; }
median() { sort -n | awk '{ v[NR]=$1 } END { print v[int((NR+1)/2)] }'; }
rate() { echo "$1 $2" | awk '{ printf "%.0f\n", $1 * 1000 / $2 }'; } # BYTES NS -> MB/s

start
echo "$(nproc) cores, $(uname -r), $(df -T "$work" | awk 'NR==2{print $2}'), $rounds rounds, medians"
bytes=$(stat -c %s "$flights")
for _ in $(seq "$rounds"); do
  "$styx" logs create flights > /dev/null
  t=$(now); "$styx" logs write flights < "$flights"; rate "$bytes" $(( $(now) - t )) >> "$work/write"
  t=$(now); "$styx" logs read flights > "$work/out"; rate "$bytes" $(( $(now) - t )) >> "$work/read"
  cmp "$flights" "$work/out"
  t=$(now)
  curl -sf -H 'Accept: application/vnd.styx.line-delimited' $STYX_HOST/logs/flights/records > "$work/out"
  rate "$bytes" $(( $(now) - t )) >> "$work/curl"
  cmp "$flights" "$work/out"
  "$styx" logs delete flights
done
echo "flights, $bytes bytes, $(wc -l < "$flights") records: write $(median < "$work/write") MB/s, read $(median < "$work/read") MB/s, read by curl $(median < "$work/curl") MB/s"

"$styx" logs create big --segment-max-size 4294967296 > /dev/null
lines=$(( 1073741824 / 108 ))
{ yes "$(printf 'x%.0s' $(seq 99))" || true; } | head -n $lines | "$styx" logs write big
size=$(curl -sf $STYX_HOST/metrics | awk '/^styx_log_disk_bytes{log="big"}/ { print $2 }')
for kind in clean kill; do
  for _ in $(seq "$rounds"); do
    signal=TERM; [ $kind = kill ] && signal=KILL
    kill -$signal "$server"; wait "$server" 2>/dev/null || true
    sync; echo 1 > /proc/sys/vm/drop_caches 2>/dev/null || true
    t=$(now); start; echo $(( ($(now) - t) / 1000000 )) >> "$work/$kind"
  done
done
echo "restart with an unsealed segment of $size bytes: $(median < "$work/clean") ms after a clean stop, $(median < "$work/kill") ms after kill -9 (cold cache)"
