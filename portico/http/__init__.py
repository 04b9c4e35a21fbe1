"""The ground floor: HTTP as the RFCs define it, and nothing else.

Rule: pure functions and small types, bytes in and values out. No socket, no file and no clock is
touched here, so every rule can be read, and tested, by itself.
Limit: this floor imports from no other floor of the package.
"""
