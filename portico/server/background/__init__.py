"""Work in threads: blocking I/O that a request waits for, and jobs that no request waits for."""
