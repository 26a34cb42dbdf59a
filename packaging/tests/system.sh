# shellcheck shell=bash
# Sourced by the tests of packages: a throw-away copy of a Debian system.
#
# The caller starts itself again in name spaces of its own, so every mount and process of the copy
# disappears with it.

# Starts the script again in new name spaces, and makes $copy, a copy of the system in $1. What
# changes is beside the system, on a real disk.
enter_copy() {
    if [ -z "${STYX_TEST_COPY:-}" ]; then
        STYX_TEST_COPY=$(mktemp -d "$(dirname "$1")/copy.XXXXXX")
        export STYX_TEST_COPY
        local code=0
        unshare --mount --pid --net --uts --ipc --fork --kill-child bash "$0" "$@" || code=$?
        rm -rf "$STYX_TEST_COPY"
        exit $code
    fi
    mount -t proc proc /proc
    mkdir "$STYX_TEST_COPY"/{changes,work,root}
    copy=$STYX_TEST_COPY/root
    mount -t overlay styx-test "$copy" \
        -o "lowerdir=$1,upperdir=$STYX_TEST_COPY/changes,workdir=$STYX_TEST_COPY/work"
    mount -t proc proc "$copy/proc"
    mount -t tmpfs dev "$copy/dev"
    mkdir "$copy/dev/shm"
    local device
    for device in full null random tty urandom zero; do
        touch "$copy/dev/$device"
        mount --bind "/dev/$device" "$copy/dev/$device"
    done
    echo '127.0.0.1 localhost' > "$copy/etc/hosts"
    ip link set lo up
    # No variable of the caller, such as a proxy or a token of Styx.
    inside=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$copy")
}

# Runs a command in the copy.
inside() {
    "${inside[@]}" "$@"
}

# Prints what is tested, and ends the script if the command fails.
check() {
    local what=$1
    shift
    if ! "$@" > "$copy/tmp/check" 2>&1; then
        echo "FAILED  $what: $*"
        cat "$copy/tmp/check"
        exit 1
    fi
    echo "ok      $what"
}

# Waits up to 10 s for a command to succeed.
wait_for() {
    for _ in $(seq 200); do
        ! "$@" > /dev/null 2>&1 || return 0
        sleep 0.05
    done
    echo "waited 10 s for: $*"
    return 1
}

# Whether a file has this owner and mode.
owner_is() {
    [ "$(inside stat --format '%U %a' "$1")" = "$2" ]
}

# Whether a log contains the numbers from 1 to 1,000.
has_records() {
    cmp <(seq 1 1000) <("$@" logs read orders --count 1000)
}
