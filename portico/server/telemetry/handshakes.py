"""Failed TLS handshakes: counts them, and reports them to the operator in plain words.

A handshake that fails because the client closed the connection is counted, but not reported: port
scanners do that all the time.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from portico.server.telemetry.faults import SparingReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from portico.server.telemetry.counters import Counters

_NAME_LIMIT = 100
"""Characters of the requested server name that a report shows."""

_REASONS = {
    "UNSUPPORTED_PROTOCOL": "it speaks neither TLS 1.2 nor 1.3",
    "WRONG_VERSION_NUMBER": "it speaks neither TLS 1.2 nor 1.3",
    "NO_SHARED_CIPHER": "it has no cipher in common with this server",
    "NO_SHARED_GROUPS": "it has no key exchange in common with this server",
    "NO_SUITABLE_KEY_SHARE": "it has no key exchange in common with this server",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "it cannot verify the key of this server's certificate",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it has no certificate, which --tls-client-ca demands",
}
_ALERTS = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED")
"""Ends of OpenSSL's reasons when the client has refused the server's certificate by an alert."""


class Handshakes:
    """Counts failed handshakes, and passes some of them on to `report` (see `SparingReport`)."""

    def __init__(self, counters: Counters | None, report: Callable[[str], None]) -> None:
        self._counters = counters
        self._report = SparingReport(report)

    def failed(self, client: str, name: str, problem: Exception) -> None:
        """Count and report that the handshake of `client`, for the server `name`, has failed."""
        if self._counters is not None:
            self._counters.handshake_failed()
        if isinstance(problem, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return
        asked = f" (for {name[:_NAME_LIMIT]!a})" if name else ""
        self._report.tell(f"no TLS with {client}{asked}: {explain(problem)}")


def explain(problem: Exception) -> str:
    """Return why a handshake has failed, as the end of a sentence about the client."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {problem.verify_message}"
    reason = getattr(problem, "reason", "") or ""
    if reason.endswith(_ALERTS):
        return "it does not trust this server's certificate"
    return _REASONS.get(reason) or reason.replace("_", " ").lower() or str(problem)
