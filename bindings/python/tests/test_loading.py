"""The error of a package whose native module cannot be loaded."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import styx_client


def copy_of_the_package(directory: Path) -> Path:
    package = directory / "styx_client"
    shutil.copytree(
        Path(styx_client.__file__).parent,
        package,
        ignore=shutil.ignore_patterns("*.so", "__pycache__"),
    )
    return package


@pytest.mark.parametrize("native", [None, b"", b"\x7fELF but not a library"])
def test_an_error_at_import_names_platform_libc_and_the_words_of_the_loader(
    tmp_path: Path, native: bytes | None
) -> None:
    package = copy_of_the_package(tmp_path)
    if native is not None:
        (package / "_native.abi3.so").write_bytes(native)
    ended = subprocess.run(
        [sys.executable, "-c", "import styx_client"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    message = ended.stderr.splitlines()[-1]
    assert message.startswith("ImportError: the native module of styx-client cannot be loaded on")
    assert sysconfig.get_platform() in message
    assert " ".join(platform.libc_ver()) in message
    assert f"Python {platform.python_version()}" in message
    assert "pip install" in message
    if native is None:
        assert "_native" in message
    else:
        assert "_native.abi3.so: " in message


def test_the_package_loads_no_library_of_its_users(tmp_path: Path) -> None:
    program = """
import sys
import styx_client, styx_client.aio, styx_client.testing
loaded = {"numpy", "pyarrow", "pytest", "uvloop", "typing_extensions"} & set(sys.modules)
print(sorted(loaded))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"
