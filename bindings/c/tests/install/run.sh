#!/bin/bash
# Builds programs against an installed libstyx as its users do, and runs them: C and C++, shared and
# static, by pkg-config, by find_package and by FetchContent.
#
#     STYX_BIN=target/release/styx bindings/c/tests/install/run.sh PREFIX [CARGO_TARGET_DIR]
#
# PREFIX is where `cmake --install` has put libstyx. FetchContent builds libstyx in CARGO_TARGET_DIR;
# without it, that part is skipped. If STYX_HOST is set, its server is used, and STYX_BIN is not
# needed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=server.sh
. "$here/server.sh"
[ $# -ge 1 ] || fail "usage: run.sh PREFIX [CARGO_TARGET_DIR]"
prefix=$(cd "$1" && pwd)
target=${2:+$(mkdir -p "$2" && cd "$2" && pwd)}
need cc gcc
need c++ g++
need cmake cmake
need pkg-config pkg-config
need readelf binutils

work=$(mktemp -d)
trap 'stop_server; rm -rf "$work"' EXIT
[ -n "${STYX_HOST:-}" ] || start_server "$work"

# The prefix works at another place, too.
cp -a "$prefix" "$work/moved"
prefix=$work/moved
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name styx.pc)")
export PKG_CONFIG_PATH
libdir=$(realpath "$(pkg-config --variable=libdir styx)")

# The files.
soname=$(readelf -d "$libdir/libstyx.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
same "SONAME" "libstyx.so.1" "$soname"
same "libstyx.so" "libstyx.so.1" "$(readlink "$libdir/libstyx.so")"
[ -f "$libdir/$soname" ] || fail "$libdir/$soname is missing"
others=$(nm -D --defined-only "$libdir/libstyx.so" | grep -v ' T styx_' || true)
same "exported symbols that are not styx_*" "" "$others"
most=$((6 * 1024 * 1024))
size=$(stat -L -c %s "$libdir/libstyx.so")
[ "$size" -le "$most" ] || fail "libstyx.so has $size bytes: more than $most"

# run NAME PROGRAM LINKAGE: a static program must not need libstyx.so.
run() {
    local needed
    needed=$(readelf -d "$2" | grep -c "libstyx" || true)
    if [ "$3" = static ]; then
        same "$1 needs libstyx.so" 0 "$needed"
        "$2" || fail "$1"
    else
        same "$1 needs libstyx.so" 1 "$(readelf -d "$2" | grep -c "NEEDED.*libstyx.so.1")"
        LD_LIBRARY_PATH=$libdir "$2" || fail "$1"
    fi
    echo "ok   $1"
}

warnings=(-Wall -Wextra -Werror)
read -ra cflags <<<"$(pkg-config --cflags styx)"
read -ra shared <<<"$(pkg-config --libs styx)"
read -ra static <<<"$(pkg-config --variable=static_libs styx)"
read -ra all_static <<<"$(pkg-config --static --libs styx)"
for language in c cpp; do
    compiler=(cc -std=c11)
    [ "$language" = c ] || compiler=(c++ -std=c++17)
    build=("${compiler[@]}" "${warnings[@]}" "${cflags[@]}" "$here/consumer.$language" -o)
    "${build[@]}" "$work/shared" "${shared[@]}"
    run "pkg-config, $language, shared" "$work/shared" shared
    "${build[@]}" "$work/static" "${static[@]}"
    run "pkg-config, $language, static" "$work/static" static
    # A program without any shared library. glibc warns that host names then need its libraries.
    "${build[@]}" "$work/alone" -static "${all_static[@]}" 2>"$work/warnings" ||
        fail "$(cat "$work/warnings")"
    run "pkg-config --static, $language" "$work/alone" static
done

# project NAME ARGUMENT...: configures, builds and runs a project of cmake.
project() {
    if ! cmake -S "$here/$1" -B "$work/$1" -DCMAKE_BUILD_TYPE=Release "${@:2}" >"$work/out" 2>&1 ||
        ! cmake --build "$work/$1" >>"$work/out" 2>&1; then
        fail "$1: $(cat "$work/out")"
    fi
    for program in c cpp; do
        run "$1, $program, shared" "$work/$1/${program}_styx" shared
        run "$1, $program, static" "$work/$1/${program}_static" static
    done
}
project find_package "-DCMAKE_PREFIX_PATH=$prefix"
if [ -n "$target" ]; then
    source=$(cd "$here/../../../.." && pwd)
    project fetch_content "-DSTYX_SOURCE=$source" "-DSTYX_CARGO_TARGET_DIR=$target" \
        -DSTYX_INSTALL=ON -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBDIR=lib/tuple
    # DESTDIR, with libraries in another directory than lib.
    DESTDIR=$work/root cmake --install "$work/fetch_content" >"$work/out"
    same "files below DESTDIR" "$(sort <<'FILES'
usr/include/styx.h
usr/include/styx.hpp
usr/lib/tuple/cmake/styx/styx-config-version.cmake
usr/lib/tuple/cmake/styx/styx-config.cmake
usr/lib/tuple/libstyx.a
usr/lib/tuple/libstyx.so
usr/lib/tuple/libstyx.so.1
usr/lib/tuple/libstyx.so.1.0.0
usr/lib/tuple/pkgconfig/styx.pc
FILES
)" "$(cd "$work/root" && find . ! -type d | sed 's|^\./||' | sort)"
    PKG_CONFIG_PATH=$work/root/usr/lib/tuple/pkgconfig
    same "styx.h below DESTDIR" "$(realpath "$work/root/usr/include")" \
        "$(realpath "$(pkg-config --variable=includedir styx)")"
    echo "ok   DESTDIR"
else
    echo "skipped: fetch_content, because no CARGO_TARGET_DIR is given"
fi
