"""One run of the bench as a whole: everything a report needs, to JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.idle import Crowding
from bench.measure import Result
from bench.memory import Footprint
from bench.neighbours import Beside
from bench.scaling import Curve
from bench.startup import Startup
from bench.workers import Crew

FORMAT = 2


@dataclass(frozen=True)
class Participant:
    """A server that took part: how it is shown, its version, how it was started."""

    name: str
    title: str
    kind: str
    version: str
    configuration: str = ""

    def configured(self, scenario: str, text: str) -> Participant:
        """The same, knowing how it was started in a scenario: lines not known before are added."""
        known = self.configuration.splitlines()
        more = [line for line in text.splitlines() if line not in known]
        if known and more:
            more.insert(0, f"--- in {scenario}, besides or instead")
        return replace(self, configuration="\n".join(known + more))


@dataclass
class Record:
    """What was run where, and what came out; ``made`` is an ISO date.

    ``problems`` are measurements that could not be made, in words.
    """

    made: str
    rounds: int
    seconds: float
    machine: dict[str, str]
    servers: list[Participant] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    startup: Startup | None = None
    memory: list[Footprint] = field(default_factory=list)
    idle: list[Crowding] = field(default_factory=list)
    workers: list[Crew] = field(default_factory=list)
    neighbours: list[Beside] = field(default_factory=list)
    scaling: list[Curve] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def title(self, name: str) -> str:
        """How a server is shown."""
        return next((one.title for one in self.servers if one.name == name), name)

    def base(self) -> str:
        """The server whose ratios are given: Portico, or the first where it did not run."""
        names = [one.name for one in self.servers]
        return "portico" if "portico" in names else names[0]


def save(record: Record, path: Path) -> None:
    """Write the record as JSON."""
    values = {
        "format": FORMAT,
        "made": record.made,
        "rounds": record.rounds,
        "seconds": record.seconds,
        "machine": record.machine,
        "servers": [asdict(one) for one in record.servers],
        "results": [one.to_json() for one in record.results],
        "startup": asdict(record.startup) if record.startup else None,
        "memory": [one.to_json() for one in record.memory],
        "idle": [one.to_json() for one in record.idle],
        "workers": [one.to_json() for one in record.workers],
        "neighbours": [one.to_json() for one in record.neighbours],
        "scaling": [one.to_json() for one in record.scaling],
        "problems": record.problems,
    }
    path.write_text(json.dumps(values, indent=1) + "\n")


def load(path: Path) -> Record:
    """Read a record that ``save`` wrote; ValueError for another format."""
    values: dict[str, Any] = json.loads(path.read_text())
    if values.get("format") != FORMAT:
        raise ValueError(f"{path} is no record of format {FORMAT}")
    return Record(
        values["made"],
        values["rounds"],
        values["seconds"],
        values["machine"],
        [Participant(**one) for one in values["servers"]],
        [Result.from_json(one) for one in values["results"]],
        Startup(**values["startup"]) if values["startup"] else None,
        [Footprint.from_json(one) for one in values["memory"]],
        [Crowding.from_json(one) for one in values["idle"]],
        [Crew.from_json(one) for one in values["workers"]],
        [Beside.from_json(one) for one in values["neighbours"]],
        [Curve(**one) for one in values["scaling"]],
        values["problems"],
    )
