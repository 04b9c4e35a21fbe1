"""Who is told of what a worker does: the access log, the metrics, and the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from portico.site.rules.rulebook import warn

if TYPE_CHECKING:
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.telemetry.counters import Counters
    from portico.site.rules.rulebook import Report


class Telemetry(NamedTuple):
    """The access log and the counters, None where they are off; `report` tells the operator."""

    log: AccessLog | None = None
    counters: Counters | None = None
    report: Report = warn
