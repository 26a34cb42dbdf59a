"""The installed package: metadata, files, and the error of a package for another platform."""

import importlib.metadata
import inspect
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import styx_client
import styx_client.aio
import styx_client.testing

PACKAGE = Path(styx_client.__file__ or "").parent


def test_package_depends_on_no_other() -> None:
    assert importlib.metadata.requires("styx-client") is None


def test_version_is_that_of_the_metadata() -> None:
    assert styx_client.__version__ == importlib.metadata.version("styx-client")


def test_types_and_license_are_installed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    files = importlib.metadata.files("styx-client") or []
    assert "LICENSE" in [file.name for file in files]


@pytest.mark.parametrize("module", [styx_client, styx_client.aio, styx_client.testing])
def test_public_names_are_documented(module: object) -> None:
    names: list[str] = getattr(module, "__all__")  # noqa: B009
    values = {name: getattr(module, name) for name in names}
    classes = {name: value for name, value in values.items() if inspect.isclass(value)}
    assert classes
    assert [name for name, value in classes.items() if not inspect.getdoc(value)] == []


def test_native_module_of_another_platform_says_what_is_wrong(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "styx_client")
    (native,) = (tmp_path / "styx_client").glob("_native*.so")
    native.write_bytes(b"not a library" * 100)
    call = [sys.executable, "-c", "import styx_client"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("ImportError: the native module of styx-client cannot be loaded on ")
    for part in [platform.machine(), platform.libc_ver()[1], "invalid ELF header"]:
        assert part in error
