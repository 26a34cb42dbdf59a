"""Measures how long a program takes to start and end, with libstyx linked statically or shared.

    cargo build --release --package styx-c
    python3 bindings/c/benchmarks/start.py

It compiles three programs with cc, and runs them in turn: one without libstyx, one that prints
the version, and one that fails to connect, which starts and ends the threads of a client. It also
prints the sizes of the library and of a program.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PROGRAMS = {
    "empty": "int main(void) { return 0; }",
    "version": """
        #include <stdio.h>
        #include <styx.h>
        int main(void) { return puts(styx_version()) < 0; }
    """,
    "connect": """
        #include <styx.h>
        int main(void) {
            styx_client *client;
            styx_error *error = styx_client_connect("127.0.0.1:1", NULL, &client);
            int failed = styx_error_code(error) != STYX_E_CONNECTION_FAILED;
            styx_error_free(error);
            return failed;
        }
    """,
}

#: What Rust's standard library needs: see CMakeLists.txt.
SYSTEM = ["-lpthread", "-ldl", "-lm", "-lrt", "-lutil"]


def compiled(name: str, linked: str, target: Path, folder: Path) -> Path:
    source, program = folder / f"{name}.c", folder / f"{name}-{linked}"
    source.write_text(PROGRAMS[name])
    command = ["cc", "-std=c11", "-O2", f"-I{ROOT / 'bindings/c/include'}", str(source)]
    if name != "empty":
        libraries = {
            "shared": [f"-L{target}", "-lstyx", f"-Wl,-rpath,{folder}"],
            "static": [str(target / "libstyx.a"), *SYSTEM],
            "all-static": ["-static", str(target / "libstyx.a"), *SYSTEM],
        }
        command += libraries[linked]
    subprocess.run([*command, "-s", "-o", str(program)], check=True, stderr=subprocess.DEVNULL)
    return program


def milliseconds(program: Path) -> float:
    begin = time.perf_counter()
    child = os.posix_spawn(
        program, [str(program)], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)]
    )
    _, status = os.waitpid(child, 0)
    took = time.perf_counter() - begin
    if status != 0:
        raise SystemExit(f"{program.name} has failed: {status}")
    return took * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--target", type=Path, default=ROOT / "target/release")
    given = parser.parse_args()
    target = given.target.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stripped = folder / "libstyx.so.1"
        shutil.copy(target / "libstyx.so", stripped)
        subprocess.run(["strip", str(stripped)], check=True)
        print(f"libstyx.so, stripped: {stripped.stat().st_size / 1e6:.2f} MB")
        cases = [("empty", "static")]
        cases += [
            (n, how)
            for how in ("static", "all-static", "shared")
            for n in PROGRAMS
            if n != "empty"
        ]
        programs = {case: compiled(*case, target, folder) for case in cases}
        times: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        for _ in range(given.runs):
            for case, program in programs.items():
                times[case].append(milliseconds(program))
        print(f"{given.runs} runs each, in ms:       median  lowest  highest      MB")
        for (name, how), took in times.items():
            size = programs[name, how].stat().st_size / 1e6
            print(
                f"{name:10} {how:12} {statistics.median(took):17.2f}"
                f" {min(took):7.2f} {max(took):8.2f} {size:7.2f}"
            )


if __name__ == "__main__":
    main()
