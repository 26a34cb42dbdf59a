"""s2-lite, from crates.io: the server of `s2 lite` and the load of `s2 bench`."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

from running import Failed, Running, free_port, run, running

from peers.base import DURABLE, Peer, Rates, Setting, Unavailable

PINNED = "0.43.4"
BASIN = "compare-basin"
#: `s2 bench` counts at least this for a record.
RECORD_BYTES_MIN = 128
#: More than the server can take, so that it decides the rate.
TARGET_MIBPS = 2_000


class S2Lite(Peer):
    name = "s2-lite"
    version = PINNED
    client = "s2 bench"
    settings = (Setting(DURABLE, "its defaults, with --local-root: fsync of each object"),)

    def prepare(self) -> None:
        self._program = self.folder / "bin" / "s2"
        if self._program.exists():
            return
        command = ["nice", "-n", "10", "cargo", "install", "s2-cli", "--version", PINNED]
        command += ["--locked", "-j1", "--root", str(self.folder)]
        try:
            run(command, 7200, {"CARGO_TARGET_DIR": str(self.folder / "build")})
        except Failed as error:
            raise Unavailable(f"cannot build s2-cli {PINNED}: {error}") from error

    def start(self, setting: str, data: Path) -> AbstractContextManager[Running]:
        port = free_port()
        command = [self._program, "lite", "--port", port, "--local-root", data / "data"]
        return running([*command, "--no-dashboard"], port, data)

    def rates(self, server: Running, size: int, seconds: float, quick: bool) -> Rates:
        address = f"http://127.0.0.1:{server.port}"
        environment = {
            "S2_ACCOUNT_ENDPOINT": address,
            "S2_BASIN_ENDPOINT": address,
            "S2_ACCESS_TOKEN": "ignored",
        }
        counted = max(size, RECORD_BYTES_MIN)
        run([self._program, "create-basin", BASIN], 60, environment, codes=(0, 1))
        command = [self._program, "bench", BASIN, "--record-size", counted]
        command += ["--target-mibps", TARGET_MIBPS, "--duration", f"{max(seconds, 1):.0f}s"]
        output = run([*command, "--catchup-delay", "1s"], 600, environment, both=True)
        rates = {
            word.lower(): float(number.replace(",", ""))
            for word, number in re.findall(r"(Write|Catchup).*?([\d.,]+) records/s", output)
        }
        if not rates:
            raise Failed(f"s2 bench printed no rate:\n{output}")
        note = f"records of {counted} bytes, as s2 bench counts them"
        return Rates(rates.get("write"), rates.get("catchup"), note)
