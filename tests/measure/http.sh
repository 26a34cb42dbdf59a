#!/usr/bin/env bash
# Compares Styx over HTTP with a bare hyper service and with the disk, in one run.
#
#   cargo build --release && cargo build --release -p styx-server --example bare
#   tests/measure/http.sh [ROUNDS] [SECONDS]
#
# Needs wrk and python3. The rounds of the two services alternate. For each load it
# prints the medians of both and their ratio. For one connection it also prints the
# time of a 4 KiB write + fdatasync on the data directory's file system.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-3}
work=$(mktemp -d -p "${MEASURE_DIR:-/var/tmp}")
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

target/release/examples/bare 127.0.0.1:7181 > "$work/bare.out" &
target/release/styx serve -b 127.0.0.1:7182 -d "$work/data" > "$work/styx.out" 2> "$work/styx.err" &
server=$!
until curl -sf http://127.0.0.1:7182/health/ready > /dev/null; do sleep 0.1; done
curl -sf -d name=bench http://127.0.0.1:7182/logs > /dev/null
cat > "$work/post.lua" <<'L'
wrk.method = "POST"
wrk.body = string.rep("x", 100)
wrk.headers["Content-Type"] = "application/octet-stream"
L

sync_us() {
  python3 - "$work" <<'P'
import os, sys, time
fd = os.open(sys.argv[1] + "/sync", os.O_RDWR | os.O_CREAT, 0o600)
block, times = b"x" * 4096, []
for i in range(500):
    begun = time.perf_counter()
    os.pwrite(fd, block, i * 4096); os.fdatasync(fd)
    times.append(time.perf_counter() - begun)
print(round(sorted(times)[250] * 1e6))
P
}
rate() { # URL CONNECTIONS [LUA] -> requests/s and median latency in us
  local threads=$(( $2 < 2 ? 1 : 2 ))
  wrk -t$threads -c"$2" -d"${seconds}s" --latency ${3:+-s "$3"} "$1" > "$work/wrk.out"
  if grep -q 'Non-2xx\|Socket errors' "$work/wrk.out"; then cat "$work/wrk.out" >&2; exit 1; fi
  awk '/50%/ { l=$2; u=1; if (l ~ /ms$/) u=1000; else if (l ~ /[0-9]s$/) u=1000000; sub(/[mu]?s$/, "", l); lat=l*u }
       /Requests\/sec/ { rps=$2 } END { printf "%d %d\n", rps, lat }' "$work/wrk.out"
}
median() { sort -n | awk '{ v[NR]=$1 } END { print v[int((NR+1)/2)] }'; }

styx=http://127.0.0.1:7182/logs/bench/records bare=http://127.0.0.1:7181/
echo "$(nproc) cores, $(uname -r), $(df -T "$work" | awk 'NR==2{print $2}'), $rounds rounds of ${seconds} s, medians"
rate $styx 64 "$work/post.lua" > /dev/null; rate $bare 64 "$work/post.lua" > /dev/null
for load in 'POST 1' 'POST 16' 'POST 64' 'POST 256' 'GET 16' 'GET 64'; do
  read -r method connections <<< "$load"
  script=''; [ "$method" = POST ] && script="$work/post.lua"
  : > "$work/s"; : > "$work/b"; : > "$work/y"
  for _ in $(seq "$rounds"); do
    [ "$connections" = 1 ] && sync_us >> "$work/y"
    rate $bare "$connections" $script >> "$work/b"
    rate $styx "$connections" $script >> "$work/s"
  done
  s=$(cut -d' ' -f1 "$work/s" | median) b=$(cut -d' ' -f1 "$work/b" | median)
  sl=$(cut -d' ' -f2 "$work/s" | median) bl=$(cut -d' ' -f2 "$work/b" | median)
  printf '%-4s %3d connections: styx %7d/s (p50 %5d us)  bare %7d/s (p50 %5d us)  ratio %.2f' \
    "$method" "$connections" "$s" "$sl" "$b" "$bl" "$(echo "$s / $b" | bc -l)"
  if [ "$connections" = 1 ]; then
    y=$(median < "$work/y")
    printf '  write+fdatasync %d us, latency / (sync + bare) %.2f' "$y" "$(echo "$sl / ($y + $bl)" | bc -l)"
  fi
  echo
done
echo "resident memory of the server: $(awk '/VmRSS/ {print $2/1024 " MiB"}' /proc/$server/status)"
