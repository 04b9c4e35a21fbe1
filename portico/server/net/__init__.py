"""The network layer: the event loop, listening, accepting, TLS, sending, rate limiting."""
