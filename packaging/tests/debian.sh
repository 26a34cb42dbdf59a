#!/bin/bash
# Installs, upgrades, removes and purges the packages in a copy of a Debian system without an init.
# Arguments: the system, the root of the sources, and the packages styx, libstyx1 and libstyx-dev.
set -euo pipefail

# shellcheck source=system.sh
. "$(dirname "$0")/system.sh"
enter_copy "$@"
sources=$2
mkdir "$copy/packages"
cp "${@:3}" "$copy/packages"
styx=/packages/$(basename "$3")
libstyx=/packages/$(basename "$4")
libstyx_dev=/packages/$(basename "$5")
settings=$copy/etc/styx/styx.toml

# An older version, whose settings are others.
older() {
    dpkg-deb --raw-extract "$copy$styx" "$copy/packages/older"
    sed -i 's/^Version: .*/Version: 0.9.0-1/' "$copy/packages/older/DEBIAN/control"
    echo '# a comment of version 0.9.0' >> "$copy/packages/older/etc/styx/styx.toml"
    dpkg-deb --root-owner-group --build "$copy/packages/older" "$copy/packages/older.deb"
}
start_server() {
    "${inside[@]}" setpriv --reuid styx --regid styx --init-groups \
        styx serve --config /etc/styx/styx.toml > "$copy/tmp/output" 2>&1 &
    server=$!
    wait_for inside styx logs list || { cat "$copy/tmp/output"; exit 1; }
}
stop_server() {
    kill "$server"
    wait "$server"
}
as_styx() { inside setpriv --reuid styx --regid styx --init-groups "$@"; }
has_user() { inside getent passwd styx; }
is_gone() { [ ! -e "$copy$1" ]; }
listens_on_loopback_only() { [ "$(ss -Hltn | awk '{ print $4 }')" = 127.0.0.1:7123 ]; }
compile() {
    inside sh -c "gcc -Wall -Werror -o /packages/$1 /packages/$1.c \$(pkg-config --cflags $2 styx)"
}

check 'an older version is built' older
check 'it is installed' inside dpkg --install /packages/older.deb
check 'the user styx exists' has_user
check 'the data belongs to the user' owner_is /var/lib/styx 'styx 750'
check 'only root reads the settings of backups' owner_is /etc/styx/backup.conf 'root 600'
check 'styx --version' inside styx --version
check 'there is a page for man' test -e "$copy/usr/share/man/man1/styx-logs-create.1.gz"
check 'the settings are valid' inside styx serve --config /etc/styx/styx.toml --check-config

start_server
check 'it listens on loopback only' listens_on_loopback_only
check 'a log is created' inside styx logs create orders
check 'records are appended' inside sh -c 'seq 1 1000 | styx logs write orders'
check 'a backup' as_styx /usr/lib/styx/backup
check 'the restore drill' as_styx /usr/lib/styx/restore-drill
stop_server

echo '# a comment of the operator' >> "$settings"
check 'an upgrade' inside dpkg --install --force-confold "$styx"
check 'the upgrade kept the changed settings' grep 'of the operator' "$settings"
check 'the new settings are beside them' test -e "$settings.dpkg-dist"
start_server
check 'the records are there after the upgrade' has_records inside styx
stop_server

check 'the package is removed' inside dpkg --remove styx
check 'the program is gone' is_gone /usr/bin/styx
check 'the settings are kept' test -e "$settings"
check 'the data is kept' test -e "$copy/var/lib/styx/orders"
check 'the package is purged' inside dpkg --purge styx
check 'the settings are gone' is_gone /etc/styx/styx.toml
check 'the data is kept after the purge' test -e "$copy/var/lib/styx/orders"
check 'the user is kept' has_user

check 'it is installed again' inside dpkg --install "$styx"
start_server
check 'the records are there after all this' has_records inside styx

check 'libstyx is installed' inside dpkg --install "$libstyx" "$libstyx_dev"
cp "$sources"/examples/c/{produce,consume}.c "$copy/packages"
check 'produce.c compiles with pkg-config' compile produce --libs
check 'consume.c compiles with the static library' compile consume --variable=static_libs
check 'produce appends' inside sh -c 'seq 1 10 | /packages/produce sensors'
check 'consume reads' inside sh -c '/packages/consume sensors | grep -w 9'
cp -r "$sources/bindings/c/tests/install" "$copy/packages/install"
check 'CMake finds libstyx' inside cmake -S /packages/install/find_package -B /packages/build
check 'CMake builds programs with it' inside cmake --build /packages/build
check 'a program in C++ runs' inside /packages/build/cpp_styx
check 'the shared library is used' inside sh -c 'ldd /packages/produce | grep libstyx.so.1'
check 'libstyx is removed' inside dpkg --remove libstyx-dev libstyx1
stop_server

check 'the package is purged with its data' inside env STYX_PURGE_DATA=1 dpkg --purge styx
check 'the data is gone' is_gone /var/lib/styx
check 'the backups are kept' test -e "$copy/var/lib/styx-backup"
