"""Portico beside other servers: one command, ``python3 -m bench``.

Linux only: CPU clocks, affinity and memory are read as Linux offers them.  Standard library only.
"""
