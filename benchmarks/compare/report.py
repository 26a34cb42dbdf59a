"""The report: a table for people, or JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field

from limits import CHANGE_MAX, Limits
from swarm import Delivered, Times


@dataclass
class Row:
    """What was measured of one peer with one setting. `None`: not measured."""

    peer: str
    version: str
    setting: str
    meaning: str
    client: str
    before: Limits
    after: Limits | None = None
    #: Records a second, by the size of a record in bytes.
    produce: dict[int, float | None] = field(default_factory=dict)
    consume: dict[int, float | None] = field(default_factory=dict)
    paced: Delivered | None = None
    crowd: Delivered | None = None
    #: Resident bytes of the server: before the first record, after `produce` and `consume`, and
    #: with all connections of the crowd.
    memory_idle: int = 0
    memory_loaded: int = 0
    memory_crowd: int | None = None
    notes: list[str] = field(default_factory=list)
    failure: str | None = None
    #: What a load client of the peer found wrong with its own figures.
    distrust: str | None = None

    def invalid(self) -> str | None:
        """Why the figures do not count: a limit changed too much, or something failed."""
        if self.failure is not None:
            return self.failure.splitlines()[0]
        if self.distrust is not None:
            return self.distrust
        if self.after is None:
            return "it was interrupted"
        name, share = self.before.change(self.after)
        return f"{name} changed by {share:.0%}" if share > CHANGE_MAX else None


@dataclass
class Report:
    rows: list[Row]
    #: The peers that were left out, and why.
    skipped: dict[str, str]
    #: The parameters of the run, as the command line gives them.
    parameters: dict[str, object]

    def is_valid(self) -> bool:
        return not self.is_quick() and all(row.invalid() is None for row in self.rows)

    def is_quick(self) -> bool:
        """Whether the run only shows that everything works."""
        return bool(self.parameters["quick"])

    def has_failed(self) -> bool:
        return any(row.failure is not None for row in self.rows)

    def to_json(self) -> str:
        rows = [{**asdict(row), "invalid": row.invalid()} for row in self.rows]
        body = {
            "machine": machine(),
            "parameters": self.parameters,
            "rows": rows,
            "skipped": self.skipped,
            "quick": self.is_quick(),
            "valid": self.is_valid(),
        }
        return json.dumps(body, indent=2)

    def to_text(self) -> str:
        lines = [machine(), f"parameters: {self.parameters}", ""]
        lines += _table(self.rows)
        lines.append("")
        for row in self.rows:
            lines.append(f"{row.peer} {row.version}, {row.setting}: {row.meaning}; {row.client}")
            lines += [f"  {note}" for note in row.notes]
        lines += [f"{name} was skipped: {why}" for name, why in self.skipped.items()]
        for row in self.rows:
            if row.failure is not None:
                lines.append(f"FAILED: {row.peer}, {row.setting}: {row.failure}")
            elif (why := row.invalid()) is not None and not self.is_quick():
                lines.append(f"INVALID: {row.peer}, {row.setting}: {why}")
        if self.is_quick() and not self.has_failed():
            lines.append("QUICK: everything works, but the figures do not count.")
        if self.is_valid():
            lines.append(f"VALID: no limit changed by more than {CHANGE_MAX:.0%} during a row.")
        return "\n".join(lines)


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.uname()
    return f"{system.system} {system.release}, {os.cpu_count()} cores, {memory:.1f} GiB"


def _table(rows: list[Row]) -> list[str]:
    sizes = sorted({size for row in rows for size in row.produce})
    head = ["PEER", "SETTING"]
    head += [f"{kind} {size} B" for size in sizes for kind in ("PRODUCE", "CONSUME")]
    head += ["DELIVERY p50/p99/p99.9", "CROWD ACK", "CROWD DELIVERY", "MEMORY"]
    cells = [head]
    for row in rows:
        line = [row.peer, row.setting]
        for size in sizes:
            line += [_rate(row.produce.get(size)), _rate(row.consume.get(size))]
        line += [
            _times(row.paced.delivery if row.paced else None),
            _times(row.crowd.ack if row.crowd else None),
            _times(row.crowd.delivery if row.crowd else None),
            _memory(row),
        ]
        cells.append(line)
    widths = [max(len(line[at]) for line in cells) for at in range(len(head))]
    pairs = (zip(line, widths, strict=True) for line in cells)
    return ["  ".join(cell.ljust(width) for cell, width in pair).rstrip() for pair in pairs]


def _rate(rate: float | None) -> str:
    if rate is None:
        return "-"
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if rate >= factor:
            return f"{rate / factor:.3g} {unit}/s"
    return f"{rate:.3g}/s"


def _times(times: Times | None) -> str:
    if times is None:
        return "-"
    return "/".join(_time(value) for value in (times.p50, times.p99, times.p999))


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def _memory(row: Row) -> str:
    values = [row.memory_idle, row.memory_loaded, row.memory_crowd]
    return ", ".join("-" if value is None else f"{value / 2**20:.0f} MiB" for value in values)
