"""Where a worker reports to: the access log, the metrics, and the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from portico.site.rules.rulebook import warn

if TYPE_CHECKING:
    from portico.server.telemetry.access_log import AccessLog
    from portico.server.telemetry.counters import Counters
    from portico.site.rules.rulebook import Report


class Telemetry(NamedTuple):
    """The access log and the counters, each None when off; the others tell the operator a text."""

    log: AccessLog | None = None
    counters: Counters | None = None
    report: Report = warn
    """Tells of failures while requests are answered."""
    report_mistakes: Report = warn
    """Tells of mistakes in the site's files and the certificates. Every worker finds them, so only
    one of them should tell."""
