"""Sockets, processes and threads: this layer serves what the site decides."""
