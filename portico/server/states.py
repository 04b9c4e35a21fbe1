"""The states of a connection. `Connection` implements this table.

Each line tells what a connection waits for in a state, and what happens then.

- IDLE: bytes; a request begins, of which nothing is here yet.
- HEAD: bytes; more of a request's head is taken.
- QUEUED: the next turn of the loop; the rest of many requests that came at once is answered.
- CONTENT: bytes; more of a request's content is taken, and given to its sink.
- WAIT: a thread, which does what the response or the sink needs from the disk; or a turn of the
  loop that has time for a listing. What comes meanwhile is received later.
- SEND: room to send, or its turn where the bandwidth of its address is limited; the rest of a
  response is sent, and a stream goes on, a step in each turn. Meanwhile nothing is received.
- LINGER: bytes; our side is closed. What still comes is dropped, so that the client is not reset
  before it has the last response: it may not look for one before it has sent all it has.
- CLOSED: nothing.
"""

from __future__ import annotations

IDLE, HEAD, QUEUED, CONTENT, WAIT, SEND, LINGER, CLOSED = range(8)

BUSY = (QUEUED, CONTENT, WAIT, SEND)
"""States in which a response is under way."""
