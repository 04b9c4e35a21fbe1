"""Processes: the supervisor and its workers, signals, systemd, the sandbox, becoming a user."""
