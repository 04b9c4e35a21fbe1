"""The states of a connection. `Connection` implements this table.

Each line tells what a connection waits for in a state, and what it does then.

- IDLE: the first bytes of a request, which it handles.
- HEAD: more bytes of a request head.
- QUEUED: the next turn of the loop, because many pipelined requests were received at once; then it
  answers the remaining ones.
- CONTENT: more bytes of a request's content, which it passes to the request's sink.
- WAIT: a thread, which uses the disk for the response or the sink, or checks a password; or a turn
  of the loop with time for a listing. Nothing is received meanwhile.
- SEND: room to send, or its turn if the bandwidth of its address is limited; then it sends more of
  a response, or lets a stream do one step per turn. Nothing is received meanwhile.
- LINGER: the client to close; Portico has closed its sending side. Bytes that still arrive are
  dropped. If the connection were closed instead, they would cause a reset, by which a client that
  is still sending can lose the last response before it has read it (RFC 9112, 9.6).
- CLOSED: nothing.
"""

from __future__ import annotations

IDLE, HEAD, QUEUED, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)

BUSY = (QUEUED, CONTENT, WAIT, SEND)
"""States in which a response is under way."""
