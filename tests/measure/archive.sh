#!/usr/bin/env bash
# Compares appends to a server with an archive, whose uploads are limited to 50 MB/s, with those to
# a server without one, and with those to such a server beside curl, which uploads the same files at
# this rate. So it tells what the archiver costs from what the store and the disk cost. The store is
# versitygw, on this machine and this disk.
#
#   cargo build --release && cargo xtask test --only object-store
#   tests/measure/archive.sh [ROUNDS]
#   STORE_DIR=/dev/shm tests/measure/archive.sh [ROUNDS]    # the store has a disk of its own: memory
#
# In each round the three run one after the other: two times 1,000 records a second for 9 s, each
# after a thread that only writes and syncs as often, then records of 1 kB at full speed, while a log
# of 4 GiB that was filled before is uploaded. A round in which this ends too early is an error.
# Prints the medians and their ratios.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
styx=${STYX:-$PWD/target/release/styx}
store=$(echo target/tools/versitygw-*/versitygw)
work=$(mktemp -d -p "${MEASURE_DIR:-/var/tmp}")
objects=$(mktemp -d -p "${STORE_DIR:-$work}")
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work" "$objects"' EXIT
export AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret

mkdir "$objects/bucket"
"$store" --port 127.0.0.1:7185 --access key --secret secret --quiet posix "$objects" \
  > "$work/store" 2>&1 &
until (exec 3<> /dev/tcp/127.0.0.1/7185) 2>/dev/null; do sleep 0.1; done

sent() { # off|on|curl ROUND: the bytes that were uploaded until now
  case "$1" in
    on) curl -sf http://127.0.0.1:7184/metrics | awk '/^styx_archive_sent_bytes_total/ { print $2 }' ;;
    curl) du -bs "$objects" | cut -f 1 ;;
    off) echo 0 ;;
  esac
}

measure() { # off|on|curl ROUND
  local settings=()
  if [ "$1" = on ]; then
    settings=(--set archive.url="s3://bucket/round-$2" --set archive.endpoint=http://127.0.0.1:7185
      --set archive.upload_bytes_per_second=50000000)
  fi
  "$styx" serve -b 127.0.0.1:7184 -d "$work/data" "${settings[@]}" > /dev/null 2> "$work/err" &
  local server=$!
  until curl -sf http://127.0.0.1:7184/health/ready > /dev/null; do sleep 0.05; done
  # The benchmark deletes its logs, so a log of this script is what is uploaded at the end. It calls
  # its run invalid, because the uploads change the limits of the machine.
  "$styx" logs create backlog -H http://127.0.0.1:7184 --segment-max-size 67108864 > /dev/null
  { yes "$(printf 'x%.0s' $(seq 999))" || true; } | head -c 4294967296 |
    "$styx" logs write backlog -H http://127.0.0.1:7184 > /dev/null
  local uploader='' begun sent
  if [ "$1" = curl ]; then
    for segment in "$work"/data/backlog/0/*.seg; do
      curl -sf --limit-rate 50000000 --aws-sigv4 aws:amz:us-east-1:s3 --user key:secret \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' -T "$segment" \
        "http://127.0.0.1:7185/bucket/round-$2-${segment##*/}"
    done &
    uploader=$!
  fi
  begun=$(date +%s) sent=$(sent "$1" "$2")
  # The limits of the machine are measured on the same disk: a quick run does it only briefly.
  "$styx" benchmark paced --protocol styx/1 --quick --rounds 2 --seconds 3 \
    -H http://127.0.0.1:7184 --directory "$work" -f json > "$work/json" 2> "$work/err" || true
  "$styx" benchmark produce --protocol styx/1 --size 1kB --quick --rounds 1 --seconds 4 \
    -H http://127.0.0.1:7184 --directory "$work" -f json >> "$work/json" 2> "$work/err" || true
  if [ "$1" != off ]; then
    case "$1" in
      curl) kill -0 "$uploader" ;;
      on) test "$(sent on "$2")" -lt 4000000000 ;;
    esac || { echo "round $2: the uploads ended before the benchmark" >&2; exit 1; }
    echo "$1 $(( ($(sent "$1" "$2") - sent) / ($(date +%s) - begun) ))" >> "$work/rates"
  fi
  if [ "$1" = curl ]; then kill "$uploader"; wait "$uploader" 2>/dev/null || true; fi
  kill "$server"; wait "$server" 2>/dev/null || true
  rm -rf "$work/data" "$objects"/bucket/*
  python3 - "$work/json" "$1" >> "$work/figures" <<'P'
import json, sys
text, reports = open(sys.argv[1]).read(), []
while text.strip():
    report, end = json.JSONDecoder().raw_decode(text.lstrip())
    reports.append(report)
    text = text.lstrip()[end:]
wanted = {("produce", "records"), ("paced", "p99"), ("paced", "bare p99")}
for result in (result for report in reports for result in report["results"]):
    for figure in result["figures"]:
        if (result["workload"], figure["name"]) in wanted:
            for value in figure["rounds"]:
                print(f"{sys.argv[2]}\t{result['workload']} {figure['name']}\t{value}")
P
}

for round in $(seq "$rounds"); do
  modes=(off on curl off on)
  for mode in "${modes[@]:$(( round % 3 )):3}"; do measure "$mode" "$round"; done
done
file_system() { df -T "$1" | awk 'NR==2{print $2}'; }
echo "$(nproc) cores, $(uname -r), data on $(file_system "$work"), store on $(file_system "$objects"), $rounds rounds, medians"
python3 - "$work/figures" "$work/rates" <<'P'
import statistics, sys
figures, rates = {}, {}
for line in open(sys.argv[1]):
    mode, what, value = line.split("\t")
    figures.setdefault((what, mode), []).append(float(value))
for line in open(sys.argv[2]):
    mode, rate = line.split()
    rates.setdefault(mode, []).append(float(rate))
on, curl = (statistics.median(rates[mode]) / 1e6 for mode in ("on", "curl"))
print(f"uploaded meanwhile: {on:.0f} MB/s, by curl {curl:.0f} MB/s")
for what, unit, scale in [
    ("produce records", "k records/s", 1e-3), ("paced p99", "ms", 1e3), ("paced bare p99", "ms", 1e3)
]:
    off, on, curl = (statistics.median(figures[what, mode]) * scale for mode in ("off", "on", "curl"))
    print(f"{what}: without {off:.2f}, with {on:.2f}, beside curl {curl:.2f} {unit}, "
          f"with : without {on / off:.2f}, with : beside curl {on / curl:.2f}")
    for mode in ("off", "on", "curl"):
        print(f"  {mode}:", " ".join(f"{value * scale:.1f}" for value in figures[what, mode]))
P
