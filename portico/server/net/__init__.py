"""Sockets: the event loop, listening, accepting, sending."""
