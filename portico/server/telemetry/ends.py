"""How an exchange of a request and its response ended, for the access log."""

from __future__ import annotations

Line = tuple[str, tuple[str, ...], int, float, str]
"""The client's address, what the log says of the request (see `AccessLog.describe`), bytes of
content, when the request was taken up (in monotonic seconds), and how it ended."""

COMPLETE = "complete"
"""The kernel has taken the last byte of the response; whether the client got it is unknown."""
BY_CLIENT = "client"
"""The client closed the connection before the response was complete."""
BY_SERVER = "server"
"""The server cut the response: the file changed, the disk failed, the connection was evicted, or
the server stopped."""
TIMED_OUT = "timeout"
"""The client read nothing of its response for too long."""

STATUSES = {BY_CLIENT: 499, BY_SERVER: 599, TIMED_OUT: 408}
"""The status that Common and Combined lines have for an exchange that did not end as COMPLETE.

nginx logs 499 and 408 in these cases. No server sends 599, so it is unambiguous, and programs that
read logs count it as the server's fault.
"""
