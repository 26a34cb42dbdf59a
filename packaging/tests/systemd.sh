#!/bin/bash
# Boots systemd in a copy of a Debian system, and installs the package there.
# Arguments: the system, the root of the sources, and the package styx.
set -euo pipefail

# shellcheck source=system.sh
. "$(dirname "$0")/system.sh"
# shellcheck source=group.sh
. "$(dirname "$0")/group.sh"
enter_copy "$@"
mkdir "$copy/packages"
cp "$3" "$copy/packages/styx.deb"

enter_group "$STYX_TEST_COPY/groups"
trap leave_group EXIT

# shellcheck disable=SC2016 # the inner shell expands these
boot='
    set -e
    cd "$1"
    mount --bind . .
    cd "$1"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 groups sys/fs/cgroup
    mount -t tmpfs run run
    mkdir -p old
    pivot_root . old
    exec env -i container=styx-test PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --show-status=no'
unshare --mount --pid --cgroup --fork --kill-child bash -c "$boot" boot "$copy" \
    > "$STYX_TEST_COPY/console" 2>&1 < /dev/null &
wait_for pgrep --parent $!
systemd=$(pgrep --parent $!)

booted() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 nsenter \
        --target "$systemd" --mount --pid --cgroup --root --wdns=/ "$@"
}
# Prints a property of the unit, or of another one.
show() { booted systemctl show --value --property "$1" "${2:-styx.service}"; }
is() { [ "$(show "$1")" = "$2" ] || { show "$1"; return 1; }; }
is_failed() { ! booted systemctl is-failed "$1"; }
owner_of_process() { [ "$(booted stat --format %U "/proc/$(show MainPID)")" = "$1" ]; }
explained() { "$@" || { booted journalctl --no-pager -u styx -u styx-backup; return 1; }; }
# A new process serves.
was_restarted() { [ "$(show MainPID)" != "$1" ] && booted styx logs list; }

has_booted() { booted systemctl is-system-running | grep -E '^(running|degraded)$'; }
boots() { wait_for has_booted || { cat "$STYX_TEST_COPY/console"; booted systemctl --no-pager list-jobs; booted systemctl is-system-running; return 1; }; }
check 'systemd boots' boots
check 'the package is installed' booted dpkg --install /packages/styx.deb
check 'the server runs' explained is ActiveState active
check 'it starts with the system' booted systemctl is-enabled styx.service
check 'the socket and the timer are off' sh -c "[ \"$(booted systemctl is-enabled styx.socket styx-backup.timer | sort -u)\" = disabled ]"
check 'the server told systemd that it is ready' is Type notify
check 'a log is created' booted styx logs create orders
check 'records are appended' booted sh -c 'seq 1 1000 | styx logs write orders'
check 'the server runs as styx' owner_of_process styx
check 'it logs no warning' explained booted sh -c "! journalctl --no-pager -u styx | grep -w WARN"

# Longer than two thirds of the watchdog's time, so a server that says nothing would be killed.
booted mkdir -p /run/systemd/system/styx.service.d
booted sh -c 'printf "[Service]\nWatchdogSec=2\n" > /run/systemd/system/styx.service.d/test.conf'
booted systemctl daemon-reload
check 'the server restarts with a short watchdog' booted systemctl restart styx
process=$(show MainPID)
sleep 5
check 'it feeds the watchdog' explained is MainPID "$process"
booted kill -STOP "$process"
check 'a server that hangs is restarted' wait_for was_restarted "$process"
check 'the records are there' has_records booted styx

check 'a backup by systemd' explained booted systemctl start styx-backup.service
check 'the timer can be enabled' booted systemctl enable --now styx-backup.timer
check 'there is a backup' booted sh -c 'test -e /var/lib/styx-backup/*Z/orders.tar.gz'
check 'the drill in the directory of backups' booted setpriv --reuid styx --regid styx --init-groups /usr/lib/styx/restore-drill

# An upgrade restarts the server.
process=$(show MainPID)
check 'the package is installed again' booted dpkg --install /packages/styx.deb
check 'a new process serves' explained was_restarted "$process"
check 'the records are there after the upgrade' has_records booted styx

# Socket activation: connections wait while the server restarts.
booted systemctl stop styx
check 'the socket can be enabled' booted systemctl enable --now styx.socket
check 'the first connection starts the server' explained has_records booted styx
booted systemctl restart --no-block styx
check 'no connection is refused while the server restarts' explained booted sh -c \
    'for i in 1 2 3 4 5 6 7 8 9 10; do styx logs get orders; done'

check 'the package is removed' booted dpkg --remove styx
check 'the server is stopped' is ActiveState inactive
check 'the package is purged' booted env STYX_PURGE_DATA=1 dpkg --purge styx
