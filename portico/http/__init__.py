"""HTTP as the RFCs define it, without I/O: no socket, no file, no clock.

Pure functions and small types: bytes in, values out. The only import from outside this package is
`portico.bounded`.
"""
