"""HTTP as the RFCs define it, without any I/O: no socket, no file, no clock.

Pure functions and small types: bytes in, values out. This floor imports from no other floor.
"""
