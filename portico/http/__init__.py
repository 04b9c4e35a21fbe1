"""HTTP as the RFCs define it, without I/O: no socket, no file, no clock.

Pure functions and small types: bytes in, values out. Of Portico it imports only `portico.bounded`.
"""
