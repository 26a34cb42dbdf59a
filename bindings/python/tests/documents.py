"""The pages about the Python package, and the blocks of code on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "bindings/python/README.md",
    ROOT / "docs/python.md",
    ROOT / "docs/python-practice.md",
]


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    #: What follows the backquotes, such as "python".
    language: str
    #: The number of the line before the first line of the text.
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in their order."""
    found: list[Block] = []
    opened: tuple[str, int] | None = None
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = line.removeprefix("```").strip(), number
        else:
            language, start = opened
            text = "".join(f"{line}\n" for line in lines[start : number - 1])
            found.append(Block(language, start, text))
            opened = None
    assert opened is None, f"{page}: the last block has no end"
    return found


def tables(page: Path, heading: str) -> list[list[list[str]]]:
    """The tables of a section, as rows of cells. The first row of each is the header."""
    lines = page.read_text().splitlines()
    found: list[list[list[str]]] = []
    within, before = False, ""
    for line in lines:
        if line.startswith("#"):
            within = line.lstrip("# ") == heading
        elif within and line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            if not line.startswith("|---"):
                found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        before = line
    assert found, f"{page} has no table below {heading}"
    return found
