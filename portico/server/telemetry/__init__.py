"""Telemetry: the access log, the metrics, and reports to the operator."""
