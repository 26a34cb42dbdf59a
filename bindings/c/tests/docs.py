#!/usr/bin/env python3
"""Compiles and runs every program in docs/c.md and docs/cpp.md, and compares its output.

    STYX_BIN=target/release/styx python3 bindings/c/tests/docs.py PREFIX

PREFIX is where `cmake --install` has put libstyx. The rules for the pages:

- A block in the language `c` or `cpp` that has `int main` is a program of its own.
- The others of the page are one program: those that begin with `static` are functions, and the
  rest are statements, each block in its own scope. The statements may use `client` and, in C,
  `check`.
- A `text` block that follows such a block is its output.
- The tables of options in docs/c.md have the keys and defaults of the client core.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
COMPILERS = {
    "c": [["cc", "-std=c11", "-D_GNU_SOURCE"]],
    "cpp": [["c++", "-std=c++17", "-pthread"], ["c++", "-std=c++20", "-pthread"]],
}
BEFORE = {
    "c": """
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <styx.h>
static void check(styx_error *error) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\\n", styx_error_name(error), styx_error_message(error));
        exit(1);
    }
}
""",
    "cpp": """
#include <algorithm>
#include <chrono>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <styx.hpp>
""",
}
MAIN = {
    "c": "int main(void) {styx_client *client; check(styx_client_connect(NULL, NULL, &client));\n",
    "cpp": "int main() { const styx::Client client;\n",
}
END = {"c": "styx_client_free(client); return 0; }\n", "cpp": "}\n"}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    prefix = Path(sys.argv[1]).resolve()
    server = os.environ.get("STYX_BIN")
    if not server:
        sys.exit("set STYX_BIN to the server's program, such as target/release/styx")
    package = next(prefix.rglob("styx.pc"), None)
    if package is None:
        sys.exit(f"there is no styx.pc below {prefix}")
    check_options()
    environment = os.environ | {
        "PKG_CONFIG_PATH": str(package.parent),
        "LD_LIBRARY_PATH": str(package.parent.parent),
    }
    libraries = ["pkg-config", "--cflags", "--libs", "styx"]
    flags = shlex.split(run(libraries, environment))
    for language, compilers in COMPILERS.items():
        page = ROOT / "docs" / f"{language}.md"
        for compiler in compilers:
            check_page(page, language, [*compiler, *STRICT], flags, environment, server)


def check_page(
    page: Path,
    language: str,
    compiler: list[str],
    flags: list[str],
    environment: dict[str, str],
    server: str,
) -> None:
    """Runs the programs of a page, in order, against a server of their own."""
    programs = list(programs_of(page, language))
    with tempfile.TemporaryDirectory() as work:
        log = Path(work, "server.log")
        arguments = ["serve", "--data-directory", f"{work}/data", "--bind-address", "127.0.0.1:0"]
        with (
            log.open("w") as out,
            subprocess.Popen([server, *arguments], stdout=out, stderr=out) as process,
        ):
            try:
                environment = environment | {"STYX_HOST": address_of(log, process)}
                for number, (text, expected) in enumerate(programs):
                    source = Path(work, f"program{number}.{language}")
                    source.write_text(text)
                    program = str(source.with_suffix(""))
                    run([*compiler, str(source), "-o", program, *flags], environment)
                    actual = run([program], environment)
                    if actual != expected:
                        sys.exit(f"{page.name}: expected\n{expected}\nbut got\n{actual}")
            finally:
                process.kill()
    print(f"ok   docs/{page.name}, {compiler[1]}: {len(programs)} programs")


def programs_of(page: Path, language: str) -> list[tuple[str, str]]:
    """The programs of a page with their outputs. Those without a `main` are the last one."""
    programs: list[tuple[str, str]] = []
    functions, statements, output = BEFORE[language], MAIN[language], ""
    is_whole = False
    # From one block to the next: their languages, lines and texts.
    text = page.read_text()
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        kind, code = block.groups()
        line = f'#line {text[: block.start()].count(chr(10)) + 2} "{page.name}"\n'
        if kind == language:
            is_whole = "int main" in code
            if is_whole:
                programs.append((line + code, ""))
            elif code.startswith("static"):
                functions += line + code
            else:
                statements += "{\n" + line + code + "}\n"
        elif kind == "text" and is_whole:
            programs[-1] = (programs[-1][0], code)
        elif kind == "text":
            output += code
    return [*programs, (functions + statements + END[language], output)]


def check_options() -> None:
    """Compares the tables of options with the client's."""
    source = (ROOT / "core-client/src/options/table.rs").read_text()
    row = r'row\(\s*(?:Client|Producer|Consumer),\s*"(\w+)",\s*\w+,\s*"([^"]*)"'
    real = re.findall(row, source)
    page = (ROOT / "docs/c.md").read_text()
    shown = []
    for table in re.findall(r"\| option \| unit \| default \| meaning \|\n((?:\|.*\n)+)", page):
        shown += re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", table, re.MULTILINE)
    if shown != real:
        different = set(shown) ^ set(real)
        sys.exit(f"the options in docs/c.md are not those of the client core: {different}")


def address_of(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The address of a server that was just started."""
    for _ in range(400):
        if found := re.search(r"http://([0-9.]+:\d+)", log.read_text()):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"the server did not start: {log.read_text()}")


def run(command: list[str], environment: dict[str, str]) -> str:
    """The output of a program that must succeed within a minute."""
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if result.returncode != 0:
        sys.exit(f"{shlex.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


if __name__ == "__main__":
    main()
