"""Writes layouts.c from styx.h: a program that prints the ABI of the header.

    python3 bindings/c/abi/make.py < bindings/c/include/styx.h > layouts.c

The program prints the size of every public struct, the offset and size of each field, the
values of enums, and every constant.
"""

import re
import sys


def main() -> None:
    header = re.sub(r"/\*.*?\*/", "", sys.stdin.read(), flags=re.DOTALL)
    lines = []
    for name, value in re.findall(r"^#define (STYX_\w+) (\S+)$", header, re.MULTILINE):
        del value
        lines.append(f"    CONSTANT({name});")
    for body, name in re.findall(r"typedef enum \{(.*?)\} (\w+);", header, re.DOTALL):
        lines.append(f"    SIZE({name});")
        lines.extend(f"    CONSTANT({value});" for value in re.findall(r"(STYX_\w+) =", body))
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", header, re.DOTALL):
        lines.append(f"    SIZE({name});")
        for field in re.findall(r"(\w+)(?:\[\w+\])?;", body):
            lines.append(f"    FIELD({name}, {field});")
    print(PROGRAM.replace("BODY", "\n".join(lines)), end="")


PROGRAM = """\
/* Written by make.py from styx.h. Prints what a compiled program knows of the library. */
#include <stddef.h>
#include <stdio.h>

#include <styx.h>

#define CONSTANT(name) printf("%s = %llu\\n", #name, (unsigned long long)(name))
#define SIZE(type) printf("%s: %zu bytes, aligned to %zu\\n", #type, sizeof(type), _Alignof(type))
#define FIELD(type, field)                                                     \\
    printf("  %s: %zu at %zu\\n", #field, sizeof(((type *)0)->field), offsetof(type, field))

int main(void)
{
BODY
    return 0;
}
"""

if __name__ == "__main__":
    main()
