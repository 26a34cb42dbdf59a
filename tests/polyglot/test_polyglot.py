"""Readings flow from C to a browser while every program on the way is killed.

The tests of this file look at one run from different sides.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_chromium
from stream import Stream
from styx_client import Client
from suite import EXAMPLE, ROOT, Suite, until

#: Readings a second: the programs are killed while others work.
RATE = 400
#: The programs that are killed, one after the other, and the number of results between two kills.
KILLS = [["worker"], ["styx"], ["server"], ["sensors"], ["worker", "styx"]]
BETWEEN = 200

CHROMIUM = find_chromium()
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="Chromium is missing, for the page: apt-get install chromium-headless-shell",
)

#: The values that are read from the page.
PAGE = """
(() => {
    const texts = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent);
    const cards = [...document.querySelectorAll("[data-sensor]")];
    return {
        counts: { ...document.querySelector("main").dataset },
        shown: texts("#totals dd"),
        events: texts("#events li").reverse().join("\\n"),
        sensors: Object.fromEntries(cards.map(({ dataset }) => [dataset.sensor, dataset.count])),
        values: texts("#sensors .value"),
        charts: document.querySelectorAll("#sensors .line[d^=M]").length,
    };
})()
"""


@dataclass
class Played:
    """What was seen in the run."""

    readings: list[dict[str, Any]]
    results: list[dict[str, Any]]
    #: Count, sum, minimum and maximum of each sensor.
    totals: dict[str, tuple[int, float, float, float]]
    stream: Stream
    #: None without Chromium.
    page: dict[str, Any] | None
    code: int
    output: str


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Plays it, with every program killed at least once."""
    folder = tmp_path_factory.mktemp("polyglot")
    with Suite(folder / "run", f"--rate={RATE}", "--port=0", "--pause=0.2") as suite:
        stream = Stream(suite.page)
        browser = Browser(CHROMIUM, folder / "profile") if CHROMIUM else None
        if browser is not None:
            browser.open(f"{suite.page}?start=0")
        for names in KILLS:
            wait_for(suite, stream, len(stream.results) + BETWEEN)
            suite.kill(*names)
        wait_for(suite, stream, len(stream.results) + BETWEEN)
        suite.finish("sensors")
        with Client(suite.address) as client:
            readings = records(client, "readings")
            wait_for(suite, stream, len(readings))
            page = None
            if browser is not None:
                page = final_page(browser, len(readings))
                browser.close()
            # What would come twice would come now.
            time.sleep(0.2)
            stream.stop()
            results = records(client, "results")
        code = suite.end()
        totals = totals_of(folder / "run/sensors.sqlite")
    return Played(readings, results, totals, stream, page, code, suite.output)


def wait_for(suite: Suite, stream: Stream, count: int) -> None:
    """Waits for that many results in the stream."""
    until(lambda: len(stream.results) >= count, lambda: f"{len(stream.results)}\n{suite.output}")


def final_page(browser: Browser, count: int) -> dict[str, Any]:
    """The page when it has received that many results."""
    page: dict[str, Any] = {}

    def has_all() -> bool:
        page.update(browser.evaluate(PAGE))
        return int(page["counts"].get("received", 0)) >= count

    until(has_all, lambda: json.dumps(page, indent=2))
    # What would come twice would come now.
    time.sleep(0.2)
    page.update(browser.evaluate(PAGE))
    return page


def records(client: Client, log: str) -> list[dict[str, Any]]:
    """The whole log."""
    with client.consumer(log) as consumer:
        return [json.loads(record.payload) for record in consumer]


def totals_of(file: Path) -> dict[str, tuple[int, float, float, float]]:
    """The table of sensors."""
    database = sqlite3.connect(file)
    rows = database.execute("SELECT sensor, count, sum, min, max FROM sensors").fetchall()
    database.close()
    return {sensor: (count, total, low, high) for sensor, count, total, low, high in rows}


def numbers(records: list[dict[str, Any]]) -> list[int]:
    """Their numbers."""
    return [record["reading"] for record in records]


def test_every_reading_is_stored_once(played: Played) -> None:
    assert len(played.readings) > len(KILLS) * BETWEEN
    assert numbers(played.readings) == list(range(len(played.readings)))


def test_every_reading_has_one_result(played: Played) -> None:
    assert numbers(played.results) == numbers(played.readings)
    inputs = [{name: result[name] for name in played.readings[0]} for result in played.results]
    assert inputs == played.readings


def test_results_count_each_reading_once(played: Played) -> None:
    seen: Counter[str] = Counter()
    for result in played.results:
        seen[result["sensor"]] += 1
        assert result["count"] == seen[result["sensor"]]


def test_database_has_each_reading_once(played: Played) -> None:
    expected: dict[str, list[float]] = {}
    for reading in played.readings:
        expected.setdefault(reading["sensor"], []).append(reading["celsius"])
    assert len(expected) == 6
    assert played.totals.keys() == expected.keys()
    for sensor, values in expected.items():
        count, total, low, high = played.totals[sensor]
        assert (count, low, high) == (len(values), min(values), max(values))
        assert total == pytest.approx(sum(values))


def test_stream_continues_after_the_last_event(played: Played) -> None:
    assert played.stream.results == played.results
    assert played.stream.connections == 2, "the web server was killed once"


def test_all_programs_end_without_an_error(played: Played) -> None:
    assert played.code == 0, played.output
    assert played.output.endswith("stopped\n")
    assert "Traceback" not in played.output


@needs_chromium
def test_page_misses_and_doubles_nothing(played: Played) -> None:
    assert played.page is not None
    count = len(played.readings)
    expected = {"state": "live", "received": str(count), "missed": "0", "doubled": "0"}
    counts = played.page["counts"]
    assert {name: counts[name] for name in expected} == expected, played.page
    assert played.page["shown"][:3] == [f"{count:,}", "0", "0"]


@needs_chromium
def test_page_shows_the_newest_value_of_each_sensor(played: Played) -> None:
    assert played.page is not None
    newest = {result["sensor"]: result for result in played.results}
    assert played.page["sensors"] == {name: str(one["count"]) for name, one in newest.items()}
    expected = [f"{newest[name]['celsius']:.1f} °C" for name in sorted(newest)]
    assert played.page["values"] == expected
    assert played.page["charts"] == 6


@needs_chromium
def test_page_says_what_it_waits_for(played: Played) -> None:
    assert played.page is not None
    events = played.page["events"]
    assert int(played.page["counts"]["reconnects"]) >= 1
    for text in ["connected", "the web server waits for Styx", "the web server does not answer"]:
        assert text in events, events
    assert "live again after result " in events.splitlines()[-1]


def test_missing_programs_are_named(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    environment = {**os.environ, "PATH": str(tmp_path / "nothing")}
    call = [sys.executable, str(EXAMPLE / "run.py"), f"--folder={tmp_path / 'run'}"]
    run = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    missing = [line for line in run.stderr.splitlines() if "missing: " in line]
    assert [line.partition("missing: ")[2].partition(",")[0] for line in missing] == [
        "cc",
        "node",
        "npm",
        "cargo",
        "make",
    ]
    assert "apt-get install gcc" in run.stderr


def test_web_server_passes_strict_type_checks(tmp_path: Path) -> None:
    package = ROOT / "bindings/node"
    options = {
        "target": "es2022",
        "lib": ["es2023", "esnext.disposable"],
        "module": "nodenext",
        "strict": True,
        "noUncheckedIndexedAccess": True,
        "noImplicitReturns": True,
        "noUnusedLocals": True,
        "noUnusedParameters": True,
        "allowJs": True,
        "checkJs": True,
        "noEmit": True,
        "types": ["node"],
        "typeRoots": [str(package / "node_modules/@types")],
    }
    config = tmp_path / "tsconfig.json"
    files = [str(EXAMPLE / "server.mjs")]
    config.write_text(json.dumps({"compilerOptions": options, "files": files}))
    call = [str(package / "node_modules/.bin/tsc"), "-p", str(config)]
    run = subprocess.run(call, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
