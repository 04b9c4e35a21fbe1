"""Which representation of a file a request gets (RFC 9110, 8 and 12 to 14)."""
