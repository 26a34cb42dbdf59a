# Functions for the scripts of this directory and its parent: a server of their own, and checks.
# Set STYX_BIN to the server's program.
# shellcheck shell=bash

# Prints a message and ends the script.
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# need PROGRAM PACKAGE: ends the script if a program is missing.
need() {
    command -v "$1" >/dev/null || fail "$1 is missing: install the Debian package $2"
}

# same WHAT EXPECTED ACTUAL
same() {
    [ "$2" = "$3" ] || fail "$1: expected"$'\n'"$2"$'\n'"but got"$'\n'"$3"
}

# start_server DIRECTORY [PORT]: starts a server, waits for it and sets STYX_HOST and server_pid.
start_server() {
    [ -x "${STYX_BIN:-}" ] || fail "set STYX_BIN to the server's program, such as target/release/styx"
    : >"$1/server.out"
    "$STYX_BIN" serve --data-directory "$1/data" --bind-address "127.0.0.1:${2:-0}" \
        "--exit-with-parent=$$" \
        >"$1/server.out" 2>"$1/server.log" &
    server_pid=$!
    local address=
    for _ in $(seq 200); do
        address=$(sed -n 's|.*http://\([0-9.]*:[0-9]*\).*|\1|p' "$1/server.out" "$1/server.log" | head -1)
        [ -n "$address" ] && break
        kill -0 "$server_pid" 2>/dev/null || fail "the server did not start: $(cat "$1/server.log")"
        sleep 0.05
    done
    [ -n "$address" ] || fail "the server did not start within 10 s"
    export STYX_HOST="$address"
}

stop_server() {
    [ -n "${server_pid:-}" ] || return 0
    kill "${1:--TERM}" "$server_pid" 2>/dev/null || true
    wait "$server_pid" 2>/dev/null || true
    server_pid=
}
