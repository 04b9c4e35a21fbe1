"""How an exchange ends, as the access log has it."""

from __future__ import annotations

COMPLETE = "complete"
"""The system has the last byte of the response. It does not tell whether the client got it."""
BY_CLIENT = "client"
"""The client left before."""
BY_SERVER = "server"
"""This side ended it: the file changed, the disk failed, the place was needed, the server stops."""
TIMED_OUT = "timeout"
"""The client took nothing of its response for too long."""

STATUSES = {BY_CLIENT: 499, BY_SERVER: 599, TIMED_OUT: 408}
"""What a log line says in the place of the status where it has no other place for that.

499 and 408 are what nginx logs then. 599 is sent by nobody, so it cannot be mistaken for anything
else, and programs that read logs count it as the server's fault.
"""
