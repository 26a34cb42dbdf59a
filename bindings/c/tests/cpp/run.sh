#!/bin/bash
# Tests styx.hpp: compiles with g++ and clang++ in three standards without a warning, and runs the
# tests against a server, once with AddressSanitizer. `cargo xtask soak` runs them with
# ThreadSanitizer.
#
#     STYX_BIN=target/release/styx bindings/c/tests/cpp/run.sh PREFIX
#
# PREFIX is where `cmake --install` has put libstyx.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../install/server.sh
. "$here/../install/server.sh"
[ $# -eq 1 ] || fail "usage: run.sh PREFIX"
prefix=$(cd "$1" && pwd)
need g++ g++
need clang++ clang
need pkg-config pkg-config

work=$(mktemp -d)
trap 'stop_server; rm -rf "$work"' EXIT
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name styx.pc)")
export PKG_CONFIG_PATH
LD_LIBRARY_PATH=$(pkg-config --variable=libdir styx)
export LD_LIBRARY_PATH
read -ra cflags <<<"$(pkg-config --cflags styx)"
read -ra libs <<<"$(pkg-config --libs styx)"
strict=(-Wall -Wextra -Wpedantic -Werror -Wconversion -Wsign-conversion -Wshadow)

# The header alone: nothing else is included before it, and it leaves no macro behind.
echo '#include <styx.hpp>' >"$work/alone.cpp"
for compiler in g++ clang++; do
    for standard in 17 20 2b; do
        "$compiler" "-std=c++$standard" "${strict[@]}" "${cflags[@]}" -fsyntax-only "$work/alone.cpp"
    done
done
macros() {
    echo "#include <$1>" | g++ -std=c++20 -x c++ -dM -E "${cflags[@]}" - | awk '{print $2}' | grep -i styx | sort
}
same "macros that styx.hpp adds" "STYX_HPP" "$(comm -13 <(macros styx.h) <(macros styx.hpp))"

start_server "$work"
# passes COMPILER STANDARD [OPTIONS]
passes() {
    for test in styx_hpp threads; do
        "$1" "-std=c++$2" "${strict[@]}" "${@:3}" "$here/$test.cpp" -o "$work/test" \
            "${cflags[@]}" "${libs[@]}" -pthread
        "$work/test"
    done
}
passes g++ 17 -O2
passes clang++ 20 >/dev/null
passes g++ 23 -g -fsanitize=address,undefined -fno-sanitize-recover=all >/dev/null
echo "styx.hpp: g++ and clang++, C++17, 20 and 23, AddressSanitizer"
