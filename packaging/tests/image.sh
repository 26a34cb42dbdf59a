#!/bin/bash
# Builds the images and runs a container of the one for this machine. Arguments: the folder
# packaging/, the prepared folder, the version, the folder for the files, and the time of the
# images in seconds since 1970. It needs neither a daemon nor a network: podman keeps everything
# in a temporary folder.
set -euo pipefail

packaging=$1
context=$2
version=$3
dist=$4
time=$5
bytes_max=20000000

if [ -z "${STYX_TEST_MOUNTS:-}" ]; then
    STYX_TEST_MOUNTS=yes exec unshare --mount bash "$0" "$@"
fi
# shellcheck source=group.sh
. "$(dirname "$0")/group.sh"
# crun wants all groups in this folder.
enter_group /sys/fs/cgroup

scratch=$(mktemp -d)
# crun gives standard input to the user of the container, also if it is /dev/null. Without this, the
# machine's /dev/null would belong to 65532, and other users could not write `> /dev/null` in a
# directory that everybody may write to.
mknod --mode 666 "$scratch/null" c 1 3
mount --bind "$scratch/null" /dev/null
podman() {
    # Without systemd, it complains that it cannot repeat the health check.
    timeout 120 podman --root "$scratch/storage" --runroot "$scratch/run" --storage-driver vfs \
        --cgroup-manager cgroupfs --events-backend file --runtime crun --log-level fatal "$@"
}
cleanup() {
    podman rm --force --all --time 0 > /dev/null 2>&1 || true
    leave_group
    rm -rf "$scratch"
}
trap cleanup EXIT

image=localhost/styx:$version
# The last one is that of this machine.
for architecture in arm64 amd64; do
    # The format of OCI has no health check.
    podman build --quiet --no-cache --format docker --platform "linux/$architecture" \
        --timestamp "$time" --tag "$image" --file "$packaging/docker/Dockerfile" "$context"
    file=$dist/styx-$version-image-$architecture.tar
    rm -f "$file" "$file.gz"
    podman save --quiet --format docker-archive --output "$file" "$image"
    [ "$(podman image inspect --format '{{.Architecture}}' "$image")" = "$architecture" ]
    size=$(podman image inspect --format '{{.Size}}' "$image")
    echo "image for $architecture: $size bytes"
    [ "$size" -le $bytes_max ] || { echo "the image is larger than $bytes_max bytes"; exit 1; }
    gzip -9 --no-name "$file"
done
# What a user loads is what is tested.
podman rmi --force "$image" > /dev/null
gzip --decompress --stdout "$dist/styx-$version-image-amd64.tar.gz" | podman load --quiet

# As compose.yaml runs it, but without a network: each command runs in the container.
run() {
    podman run --detach --name styx --cgroups disabled --ulimit nofile=4096 --ulimit nproc=1000 \
        --network none --read-only --cap-drop all --security-opt no-new-privileges \
        --volume styx-data:/var/lib/styx "$image" "$@" > /dev/null
}
styx() {
    podman exec -i styx styx "$@"
}
healthy() {
    for _ in $(seq 100); do
        ! podman healthcheck run styx > /dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "the container did not become healthy:"
    podman logs styx
    return 1
}

# Without tokens it does not listen on all addresses.
run
for _ in $(seq 100); do
    [ "$(podman inspect --format '{{.State.Status}}' styx)" = running ] || break
    sleep 0.1
done
code=$(podman inspect --format '{{.State.ExitCode}}' styx)
[ "$code" = 1 ] || { echo "exit code $code, but the server should refuse to start"; exit 1; }
podman logs styx
podman rm --force --time 0 styx > /dev/null

run serve --insecure
healthy
process=$(podman inspect --format '{{.State.Pid}}' styx)
[ "$(awk '/^NSpid/ { print $NF }' "/proc/$process/status")" = 1 ] || { echo "not process 1"; exit 1; }
[ "$(awk '/^Uid/ { print $2 }' "/proc/$process/status")" = 65532 ] || { echo "not user 65532"; exit 1; }
styx logs create orders > /dev/null
seq 1 1000 | styx logs write orders

# As process 1, it obeys the signals that end it, and its data is in the volume.
for signal in TERM INT; do
    podman kill --signal $signal styx > /dev/null
    code=$(podman wait styx)
    [ "$code" = 0 ] || { echo "exit code $code after SIG$signal"; podman logs styx; exit 1; }
    podman start styx > /dev/null
    healthy
done
styx logs read orders --count 1000 | diff - <(seq 1 1000)
# An upgrade: a new container with the same volume.
podman rm --force --time 10 styx > /dev/null
run serve --insecure
healthy
styx logs read orders --count 1000 | diff - <(seq 1 1000)
echo "a container works: process 1, user 65532, health check, signals, volume"
