"""Processes: the supervisor and its workers, signals, systemd."""
