"""The pages about the package are right: their programs run, and their tables match the code.

All `python` blocks of a page are one program, which runs in the order of the page. Each page has
a server of its own: in STYX_HOST, and instead of localhost:7123. If the next block is `text`, it
is the output of the program before it. A block with tests is run by pytest.

Commands are in `console` blocks, which are not run here: the steps python-wheel and python-server
of `cargo xtask test` install the packages, and test_examples.py runs the examples. `sh` blocks
would be run by the tests of the server, where no Python package is installed.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import styx_client
from documents import PAGES, ROOT, Block, blocks, tables
from styx_client import _errors, _native
from styx_client.testing import Server

GUIDE, PRACTICE = ROOT / "docs/python.md", ROOT / "docs/python-practice.md"


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_tests(block: Block, directory: Path) -> None:
    """Runs the tests of a block, as a user does."""
    file = directory / f"test_line_{block.line}.py"
    file.write_text(block.text)
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    if not entry_points(group="pytest11", name="styx_client"):
        # The package is used without having been installed.
        call += ["-p", "styx_client.testing.fixtures"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_program_on_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    found = blocks(page)
    assert any(block.language == "python" for block in found)
    with Server(tmp_path / "styx") as server:
        monkeypatch.setenv("STYX_HOST", server.address)
        for block, following in zip(found, [*found[1:], None], strict=True):
            if block.language != "python":
                continue
            if "\ndef test_" in block.text:
                run_tests(block, tmp_path)
                continue
            output = io.StringIO()
            text = block.text.replace("localhost:7123", server.address.removeprefix("styx://"))
            # Tracebacks have the lines of the page.
            code = compile("\n" * block.line + text, str(page), "exec")
            with contextlib.redirect_stdout(output):
                exec(code, names)
            if following is not None and following.language == "text":
                assert output.getvalue() == following.text, f"{page}:{following.line}"
        client = names.get("client")
        if isinstance(client, styx_client.Client):
            client.close()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_programs_on_the_page_pass_strict_type_checks(page: Path, tmp_path: Path) -> None:
    """A block with tests is a file of its own. The others are one, as they are run."""
    found = [block.text for block in blocks(page) if block.language == "python"]
    tests = [text for text in found if "\ndef test_" in text]
    programs = [text for text in found if text not in tests]
    files: list[str] = []
    for number, text in enumerate(["\n".join(programs), *tests]):
        file = tmp_path / f"page_{number}.py"
        file.write_text(text)
        files.append(str(file))
    config = tmp_path / "mypy.ini"
    # It has no types.
    config.write_text("[mypy]\nstrict = True\n[mypy-pyarrow.*]\nignore_missing_imports = True\n")
    options = ["--config-file", str(config), "--cache-dir", str(tmp_path / "mypy")]
    call = [sys.executable, "-m", "mypy", *options, *files]
    # Modules of an uninstalled package are found where this process finds them.
    package = Path(styx_client.__file__).parents[1]
    environment = dict(os.environ)
    if "site-packages" not in package.parts:
        environment["MYPYPATH"] = str(package)
    done = subprocess.run(call, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_blocks_have_only_languages_that_a_test_knows(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= {
        "python",
        "text",
        "console",
        "toml",
    }


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_name_files_that_exist(page: Path) -> None:
    for block in blocks(page):
        if block.language == "console":
            paths = re.findall(r"(?:\./|examples/|bindings/)[\w./-]+", block.text)
            missing = [path for path in paths if not (ROOT / path).exists()]
            assert not missing, f"{page}:{block.line}: {missing}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "examples/python/README.md"], ids=page_name)
def test_every_link_points_to_a_file_or_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]*)\)", page.read_text()):
        name, _, heading = target.partition("#")
        if "://" in name:
            continue
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            assert heading in headings(file), target


def headings(page: Path) -> list[str]:
    """The headings of a page, as they are in links."""
    lines = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line[:1] == "#"]
    return [re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines]


@pytest.mark.parametrize("page", [PAGES[0]], ids=page_name)
def test_the_page_on_pypi_has_no_links_into_the_repository(page: Path) -> None:
    """PyPI shows the page without the files beside it."""
    targets = re.findall(r"\]\(([^)]*)\)", page.read_text())
    assert targets, "it has links"
    assert [target for target in targets if "://" not in target] == []


@pytest.mark.parametrize("kind", ["client", "producer", "consumer"])
def test_the_guide_has_every_option_with_its_default(kind: str) -> None:
    functions: dict[str, Callable[..., object]] = {
        "client": styx_client.Client.__init__,
        "producer": styx_client.Client.producer,
        "consumer": styx_client.Client.consumer,
    }
    parameters = inspect.signature(functions[kind]).parameters
    # How the asyncio face learns positions; not an option of the public classes.
    hidden = "track_settled"
    expected = [
        (f"`{name}`", parameters[name].default)
        for of, name, _unit, _default, _meaning in _native.options()
        if of == kind and name != hidden
    ]
    [rows] = [
        table
        for table in tables(GUIDE, f"{kind.capitalize()}s")
        if table[0] == ["option", "type", "default", "meaning"]
    ]
    assert [(name, value(default)) for name, _, default, _ in rows[1:]] == expected


def value(cell: str) -> object:
    """The value of a default on the page. A cell in words says what None does."""
    return eval(cell.strip("`"), {}) if cell.startswith("`") else None


def test_the_pages_have_every_error_as_it_is() -> None:
    expected: list[list[str]] = []
    for kind in _errors.BY_CODE.values():
        builtin = next(
            (base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"),
            "",
        )
        when = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        retry = "yes" if kind.retriable else "no"
        name = f"`{builtin}`" if builtin else ""
        expected.append([f"`{kind.__name__}`", f"`{kind.code}`", name, retry, when])
    [rows] = [table for table in tables(PRACTICE, "Errors") if table[0][0] == "class"]
    right = "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in expected)
    assert rows[1:] == expected, f"replace the rows of the table in {PRACTICE} with:\n{right}"
