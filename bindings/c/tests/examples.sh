#!/bin/bash
# Builds every program of examples/c, examples/cpp and examples/ffi with the flags of `pkg-config styx` alone and
# without a warning, runs it against a server, and checks its output. The reliable ones are killed
# in the middle, and so is the server.
#
#     STYX_BIN=target/release/styx bindings/c/tests/examples.sh PREFIX
#
# PREFIX is where `cmake --install` has put libstyx. CC and CXX choose the compilers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=install/server.sh
. "$here/install/server.sh"
[ $# -eq 1 ] || fail "usage: examples.sh PREFIX"
prefix=$(cd "$1" && pwd)
examples=$(cd "$here/../../../examples" && pwd)
need "${CC:-cc}" gcc
need "${CXX:-c++}" g++
need pkg-config pkg-config
need sqlite3 sqlite3
[ -f /usr/include/asio.hpp ] || fail "asio.hpp is missing: install the Debian package libasio-dev"
[ -f /usr/include/sqlite3.h ] || fail "sqlite3.h is missing: install the Debian package libsqlite3-dev"

work=$(mktemp -d)
started=()
finish() {
    for pid in "${started[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    stop_server KILL
    rm -rf "$work"
}
trap finish EXIT
cd "$work"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name styx.pc)")
export PKG_CONFIG_PATH
LD_LIBRARY_PATH=$(pkg-config --variable=libdir styx)
export LD_LIBRARY_PATH

# wait_for WHAT COMMAND...: up to 20 s, until the command succeeds.
wait_for() {
    for _ in $(seq 400); do
        if "${@:2}" >/dev/null 2>&1; then
            return
        fi
        sleep 0.05
    done
    fail "$1 did not happen within 20 s"
}

# Build.
strict=(-Wall -Wextra -Werror -pedantic -O1)
read -ra flags <<<"$(pkg-config --cflags --libs styx)"
build() {
    local source=$1 name
    name=$(basename "${source%.*}")
    case $source in
        *reliable.c) "${CC:-cc}" -std=c11 "${strict[@]}" "$source" -o "$name" "${flags[@]}" -lsqlite3 ;;
        *.c) "${CC:-cc}" -std=c11 "${strict[@]}" "$source" -o "$name" "${flags[@]}" ;;
        *.cpp) "${CXX:-c++}" -std=c++17 "${strict[@]}" "$source" -o "${name}_cpp" "${flags[@]}" -pthread ;;
    esac || fail "$source cannot be built"
}
for source in "$examples"/c/*.c; do
    build "$source"
done
# Go compiles its own packages for cgo at the first time. That takes longer than all the rest.
go_build=
if command -v go >/dev/null; then
    GOFLAGS=-mod=mod GOTOOLCHAIN=local go build -o events_go "$examples/ffi/events.go" 2>go.err &
    go_build=$!
    started+=("$go_build")
fi
built=()
for source in "$examples"/cpp/*.cpp; do
    build "$source" &
    built+=($!)
done
for pid in "${built[@]}"; do
    wait "$pid" || fail "a program in examples/cpp cannot be built"
done
echo "ok   all programs are built"

start_server "$work"
port=${STYX_HOST##*:}

# produce.c, consume.c, produce.cpp, consume.cpp: each reads what the other has written.
for pair in ":_cpp" "_cpp:"; do
    write=produce${pair%%:*} read=consume${pair##*:}
    same "$write" "1000 lines" "$(seq 1 1000 | "./$write" "$write")"
    same "$read" "$(seq 1 1000 | awk '{print NR - 1, $1}')" "$("./$read" "$write")"
    same "$read end-2" $'998 999\n999 1000' "$("./$read" "$write" end-2)"
done
"./consume" missing 2>err && fail "consume reads a log that does not exist"
grep -q '^log_not_found: ' err || fail "consume: $(cat err)"
echo "ok   produce.c consume.c produce.cpp consume.cpp"

# ranges.cpp
printf 'pear\nfig\nbanana\ncherry\n' | ./produce fruit >out
same "ranges" $'2 banana\n3 cherry\n19 bytes in all' "$(./ranges_cpp fruit 2)"
./ranges_cpp missing 1 2>err && fail "ranges reads a log that does not exist"
same "ranges missing" "there is no log missing" "$(cat err)"
echo "ok   ranges.cpp"

# follow_epoll.c: two programs see each other's lines.
mkfifo input
./follow_epoll chat <input >first.out &
started+=($!)
follower=$!
exec 3>input
echo "from the first" >&3
wait_for "a record of the first follow_epoll" grep -q "0 from the first" first.out
same "follow_epoll" $'1 from the second\n2 without newline' \
    "$(printf 'from the second\nwithout newline' | ./follow_epoll chat)"
wait_for "a record of the second follow_epoll" grep -q "2 without newline" first.out
exec 3>&-
wait "$follower" || fail "follow_epoll failed"
echo "ok   follow_epoll.c"

# tail.c: the last records, the new ones, a restart of the server, and Ctrl-C.
seq 1 100 | ./produce orders >out
./tail orders 3 >tail.out 2>tail.err &
started+=($!)
tail=$!
wait_for "the end of the log" grep -q '^100$' tail.out
echo "new" | ./produce orders >out
wait_for "the new record" grep -q '^new$' tail.out
stop_server
wait_for "the loss of the connection" grep -q '^connection lost: ' tail.err
start_server "$work" "$port"
echo "after the restart" | ./produce orders >out
wait_for "the record after the restart" grep -q '^after the restart$' tail.out
kill -INT "$tail"
wait "$tail" || fail "tail fails after Ctrl-C"
same "tail" $'98\n99\n100\nnew\nafter the restart' "$(cat tail.out)"
same "tail's last message" "stopped at position 102" "$(tail -1 tail.err)"
echo "ok   tail.c"

# sensors.c: killed in the middle, started again. Each reading is there once and in order.
readings=1000000
killed=0
for pause in 0.05 0.1 0.2; do
    ./sensors readings $readings >out 2>err &
    pid=$!
    started+=("$pid")
    sleep $pause
    kill -KILL "$pid" 2>/dev/null && killed=$((killed + 1))
    wait "$pid" 2>/dev/null || true
done
[ $killed -gt 0 ] || fail "sensors was never killed in the middle: the test needs more readings"
same "sensors" "$readings readings" "$(./sensors readings $readings 2>err)"
same "sensors that are missing or doubled" "$readings readings, 0 wrong" "$(./consume readings |
    awk '$1 != $2 { wrong++ } END { print NR " readings, " wrong + 0 " wrong" }')"
echo "ok   sensors.c, killed $killed times"

# reliable.c: killed again and again, and the server once. The totals are exact.
awk 'BEGIN { split("red green blue", c, " "); for (i = 0; i < 300000; i++) print c[i % 3 + 1], i }' |
    ./produce colours >out
counted() { sqlite3 -cmd ".timeout 5000" totals.sqlite "SELECT COALESCE(SUM(records), 0) FROM totals" 2>/dev/null || echo 0; }
start_reliable() {
    ./reliable colours totals.sqlite 2>>reliable.err &
    reliable=$!
    started+=("$reliable")
}
kill_reliable() {
    kill -KILL "$reliable" 2>/dev/null || fail "reliable ended by itself: $(cat reliable.err)"
    wait "$reliable" 2>/dev/null || true
}
middle=0
for round in 1 2 3 4; do
    before=$(counted)
    start_reliable
    for _ in $(seq 100); do
        [ "$(counted)" -gt "$before" ] && break
        sleep 0.01
    done
    kill_reliable
    if [ "$(counted)" -gt 0 ] && [ "$(counted)" -lt 300000 ]; then
        middle=$((middle + 1))
    fi
    if [ $round = 2 ]; then
        stop_server KILL
        start_server "$work" "$port"
    fi
done
[ $middle -gt 0 ] || fail "reliable was never killed in the middle: the test needs more records"
start_reliable
all_counted() { [ "$(counted)" -ge 300000 ]; }
wait_for "the last transaction" all_counted
# Follows: what is appended now is counted, too.
seq 1 6 | sed 's/^/red /' | ./produce colours >out
last_counted() { [ "$(counted)" -ge 300006 ]; }
wait_for "the new records" last_counted
kill_reliable
same "totals" $'blue|100000\ngreen|100000\nred|100006' \
    "$(sqlite3 totals.sqlite 'SELECT * FROM totals ORDER BY word')"
echo "ok   reliable.c, killed $middle times in the middle"

# asio_server.cpp: a line of one connection reaches both.
./asio_server_cpp lines 0 >asio.out 2>asio.err &
started+=($!)
server=$!
wait_for "the port of asio_server" grep -q "listening on port" asio.out
lines=$(sed -n 's/listening on port //p' asio.out)
exec 4<>"/dev/tcp/127.0.0.1/$lines" 5<>"/dev/tcp/127.0.0.1/$lines"
echo "first" >&4
IFS= read -r -t 20 line <&4
same "asio_server, own line" "first" "$line"
IFS= read -r -t 20 line <&5
same "asio_server, other line" "first" "$line"
seq 1 2000 >&5
same "asio_server, many lines" "$(seq 1 2000)" "$(timeout 20 head -2000 <&4)"
exec 4>&- 5>&-
kill -TERM "$server"
wait "$server" || fail "asio_server: $(cat asio.err)"
same "asio_server's log" "2001" "$(./consume lines | wc -l)"
echo "ok   asio_server.cpp"

# examples/ffi: other languages call libstyx. A language that is not installed is skipped.
expected=$'0 one\n1 two\n2 three'
if command -v python3 >/dev/null; then
    same "events.py" "$expected" "$(python3 "$examples/ffi/events.py" python)"
    echo "ok   events.py"
else
    echo "skipped: events.py, because python3 is missing"
fi
jna=/usr/share/java/jna.jar
if command -v javac >/dev/null && [ -f $jna ]; then
    same "Events.java" "$expected" "$(java -cp $jna "$examples/ffi/Events.java" java)"
    echo "ok   Events.java"
else
    echo "skipped: Events.java, because a JDK or $jna is missing: default-jdk-headless, libjna-java"
fi
if [ -n "$go_build" ]; then
    wait "$go_build" || fail "events.go cannot be built: $(cat go.err)"
    same "events.go" "$expected" "$(./events_go go)"
    echo "ok   events.go"
else
    echo "skipped: events.go, because go is missing: golang-go"
fi
