#!/bin/bash
# Checks the units with systemd-analyze. Arguments: the folder packaging/, the binary, and the
# highest exposure in tenths.
set -euo pipefail

packaging=$1
binary=$2
exposure_max=$3
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# A root with nothing but our files, so that no other unit is checked.
install -D "$binary" "$root/usr/bin/styx"
install -D -t "$root/usr/lib/styx" "$packaging"/scripts/*
install -D -m 644 -t "$root/usr/lib/systemd/system" "$packaging"/systemd/*
install -D /bin/true "$root/bin/kill"
# The targets and the root's unit that ours refer to.
for unit in /lib/systemd/system/*.target /lib/systemd/system/*.slice; do
    [ ! -f "$unit" ] || install -D -m 644 -t "$root/usr/lib/systemd/system" "$unit"
done

cd "$packaging/systemd"
for unit in *; do
    output=$(systemd-analyze verify --root="$root" --man=no "$unit" 2>&1) || failed=1
    if [ -n "$output${failed:-}" ]; then
        echo "systemd-analyze verify $unit: $output"
        exit 1
    fi
    echo "systemd-analyze verify $unit: no mistake"
done
for unit in *.service; do
    systemd-analyze security --offline=true --threshold="$exposure_max" --root="$root" \
        --no-pager "$unit" | tail -n 1
done
