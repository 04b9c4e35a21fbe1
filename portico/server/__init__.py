"""Sockets, processes and threads: this floor serves what the site decides."""
